/** Runs beside the page: microphone sound in, frames of 16 kHz s16le out, as messages { pcm, peak, rms } and { done }. */

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

  process([channels]) {
    if (this.running && channels?.length) this.#take(this.resampler.push(mixDown(channels)));
    return this.running;
  }

  #take(samples) {
    for (const frame of this.framer.push(toInt16(samples))) this.#give(frame);
  }

  #give(pcm) {
    this.port.postMessage({ pcm, ...level(pcm) }, [pcm.buffer]);
  }

  #finish() {
    if (!this.running) return;
    this.running = false;
    this.#take(this.resampler.flush());
    const rest = this.framer.rest();
    if (rest.length) this.#give(rest);
    this.port.postMessage({ done: true });
  }
}

registerProcessor("recorder", Recorder);
