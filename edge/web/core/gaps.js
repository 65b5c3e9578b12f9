/**
 * Where a microphone gave nothing: how much silence belongs there, so that all that follows has its right time. Pure.
 *
 * Frames say when they were recorded by the clock of the audio thread, and are received by the clock of the page, both
 * in milliseconds. A gap is what both have seen: while the page is busy, frames only wait for it, and a clock that is
 * set moves alone.
 */

import { RATE } from "./pcm.js";

/** Milliseconds; shorter gaps are the jitter of a busy device. */
const LEAST = 1_000;

/** Milliseconds without a frame after which the gap is filled while it lasts, and the person is told. */
const STALLED = 10_000;

/** Milliseconds of the longest gap that becomes silence: a device that sleeps for hours records nothing. */
const MOST = 600_000;

/** Milliseconds between two looks from which on the page itself had stopped, with frames that still wait for it. */
const LATE = 3_000;

export class Gaps {
  /** now: when the microphone was opened, by the clock of the page. */
  constructor(now) {
    this.looked = now;
    this.#begin(now);
  }

  /**
   * Take a frame of `length` samples. Gives { silence, lost }: samples of silence that belong before it, and
   * milliseconds of a gap that is too long for that.
   */
  frame(length, recorded, received) {
    const page = received - this.received;
    const audio = this.recorded === null ? page : recorded - this.recorded;
    const { begun, filled } = this;
    Object.assign(this, { recorded, received, begun: true, filled: 0 });
    if (!begun && !filled) return { silence: 0, lost: 0 }; // microphones take their time to start
    const unfilled = audio - milliseconds(filled);
    if (unfilled > MOST) return { silence: 0, lost: unfilled };
    const gap = Math.min(page, audio) - milliseconds(length);
    return { silence: gap < LEAST ? 0 : Math.max(0, samples(gap) - filled), lost: 0 };
  }

  /** Look, once a second, whether frames still come. Gives what belongs here by now, as `frame` does. */
  look(now) {
    const late = now - this.looked > LATE;
    this.looked = now;
    if (late || !this.stalled(now)) return { silence: 0, lost: 0 };
    const silence = samples(now - this.received) - this.filled;
    if (silence > samples(MOST)) {
      this.#begin(now);
      return { silence: 0, lost: milliseconds(silence) };
    }
    this.filled += silence;
    return { silence, lost: 0 };
  }

  /** Whether nothing has come for so long that the person should know. */
  stalled(now) {
    return now - this.received >= STALLED;
  }

  #begin(now) {
    Object.assign(this, { recorded: null, received: now, begun: false, filled: 0 });
  }
}

function samples(duration) {
  return Math.round((duration * RATE) / 1_000);
}

function milliseconds(count) {
  return (count * 1_000) / RATE;
}
