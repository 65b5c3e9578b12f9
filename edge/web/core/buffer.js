/**
 * Sound on its way to the server. It stays here until the server has acked it. Pure.
 *
 * Positions are sample indexes from the beginning of the job's sound: acked <= sent <= end.
 */

import { toInt16 } from "./pcm.js";

/** Live sound: what was recorded and is not acked yet. */
export class LiveBuffer {
  /** start: the first sample that will be added. */
  constructor(start = 0) {
    /** All samples below are durable on the server, so they are no longer here. */
    this.acked = start;
    /** The next sample to send on the current connection. */
    this.sent = start;
    /** The first sample that is not recorded yet. */
    this.end = start;
    /** Nothing more will be added. */
    this.complete = false;
    this.chunks = []; // [{ start, pcm }], in order and without a gap
    this.dropped = 0; // chunks at the front that are no longer needed
  }

  add(pcm) {
    if (pcm.length === 0) return;
    this.chunks.push({ start: this.end, pcm });
    this.end += pcm.length;
  }

  /** The samples to send next, at most `most`; null when all is sent. */
  take(most) {
    if (this.sent >= this.end) return null;
    const pcm = this.read(this.sent, Math.min(this.end, this.sent + most));
    this.sent += pcm.length;
    return pcm;
  }

  /** The samples from `from` to before `to`, all of which must be here. */
  read(from, to) {
    let index = this.#find(from);
    const first = this.chunks[index];
    if (first.start === from && first.pcm.length === to - from) return first.pcm;
    const pcm = new Int16Array(to - from);
    for (let at = from; at < to; index++) {
      const { start, pcm: chunk } = this.chunks[index];
      const part = chunk.subarray(at - start, to - start);
      pcm.set(part, at - from);
      at += part.length;
    }
    return pcm;
  }

  /** All samples below are durable: drop them. */
  ack(samples) {
    if (samples <= this.acked) return;
    this.acked = Math.min(samples, this.end);
    this.sent = Math.max(this.sent, this.acked);
    while (this.dropped < this.chunks.length) {
      const { start, pcm } = this.chunks[this.dropped];
      if (start + pcm.length > this.acked) break;
      this.chunks[this.dropped++] = null;
    }
    if (this.dropped > 256 && this.dropped * 2 > this.chunks.length) {
      this.chunks.splice(0, this.dropped);
      this.dropped = 0;
    }
  }

  /**
   * Continue at the sample that a new connection expects. After a reload the server may have more than this page
   * stored; new sound then follows what the server has.
   */
  resume(sample) {
    if (sample > this.end) {
      this.chunks = [];
      this.dropped = 0;
      this.acked = this.end = sample;
    }
    this.sent = Math.max(sample, this.acked);
  }

  /** Continue as another job that begins at `sample`; gives the sample of this job that is sample 0 of the other. */
  rebase(sample = this.acked) {
    const from = Math.min(Math.max(sample, this.acked), this.end);
    const rest = from < this.end ? this.read(from, this.end) : new Int16Array(0);
    this.chunks = [];
    this.dropped = 0;
    this.acked = this.sent = this.end = 0;
    this.add(rest);
    return from;
  }

  #find(sample) {
    let low = this.dropped;
    let high = this.chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.chunks[middle].start <= sample) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** The sound of a file, all of which is here from the beginning. The methods are those of LiveBuffer. */
export class FileBuffer {
  /** samples: Float32Array at 16 kHz; from: the sample of the file that is sample 0 of the job. */
  constructor(samples, from = 0) {
    this.samples = samples;
    this.from = from;
    this.acked = 0;
    this.sent = 0;
    this.complete = true;
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
