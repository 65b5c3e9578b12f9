/** In the audio thread: turns microphone sound into frames of 16 kHz s16le, { pcm, peak, rms }; at last { done }. */

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
    if (this.running && channels?.length) this.#add(this.resampler.push(mixDown(channels)));
    return this.running;
  }

  #add(samples) {
    for (const frame of this.framer.push(toInt16(samples))) this.#post(frame);
  }

  #post(pcm) {
    this.port.postMessage({ pcm, ...level(pcm) }, [pcm.buffer]);
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
