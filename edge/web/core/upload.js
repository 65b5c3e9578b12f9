/** The sound of a file on its way to the server: a tail whose sound is all there from the beginning. Pure. */

import { toInt16 } from "./pcm.js";

export class Upload {
  /** samples: Float32Array at 16 kHz; from: the sample of it that is the job's sample 0. */
  constructor(samples, from = 0) {
    this.samples = samples;
    this.from = from;
    this.acked = 0;
    this.sent = 0;
    this.over = true;
  }

  get end() {
    return this.samples.length - this.from;
  }

  take(most) {
    if (this.sent >= this.end) return null;
    const first = this.from + this.sent;
    const pcm = toInt16(this.samples.subarray(first, Math.min(first + most, this.samples.length)));
    this.sent += pcm.length;
    return pcm;
  }

  ack(samples) {
    this.acked = Math.max(this.acked, Math.min(samples, this.end));
    this.sent = Math.max(this.sent, this.acked);
  }

  resume(sample) {
    this.sent = Math.max(Math.min(sample, this.end), this.acked);
  }

  rebase(sample = this.acked) {
    const from = Math.min(Math.max(sample, this.acked), this.end);
    this.from += from;
    this.acked = this.sent = 0;
    return from;
  }
}
