/**
 * In the audio thread: turns microphone sound into frames of 16 kHz s16le, { pcm, peak, rms, at }; at last { done }. at:
 * the time of the end of the frame, in milliseconds.
 */

import { Framer, level, mixDown, toInt16 } from "../core/pcm.js";
import { Resampler } from "../core/resampler.js";

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.framer = new Framer();
    this.running = true;
    this.port.onmessage = () => this.#finish();
  }

  process([channels], [[output]]) {
    // Without an input there are no channels. Time passes all the same, so it is recorded as silence.
    const sound = channels?.length ? mixDown(channels) : new Float32Array(output.length);
    if (this.running) this.#add(this.resampler.push(sound));
    return this.running;
  }

  #add(samples) {
    for (const frame of this.framer.push(toInt16(samples))) this.#post(frame);
  }

  #post(pcm) {
    this.port.postMessage({ pcm, ...level(pcm), at: Date.now() }, [pcm.buffer]);
  }

  #finish() {
    if (!this.running) return;
    this.running = false;
    this.#add(this.resampler.flush());
    const rest = this.framer.rest();
    if (rest.length) this.#post(rest);
    this.port.postMessage({ done: true });
  }
}

registerProcessor("recorder", Recorder);
