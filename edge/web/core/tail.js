/**
 * Live sound that the server may still need: what was heard and is not acked yet. Pure.
 *
 * Positions are sample indexes from the beginning of the job's sound: acked <= sent <= end.
 */

export class Tail {
  /** start: the first sample that will be added. */
  constructor(start = 0) {
    /** All below is durable, so that it is not kept any more. */
    this.acked = start;
    /** The next sample for the connection that there is now. */
    this.sent = start;
    /** The first sample that has not been heard yet. */
    this.end = start;
    /** Nothing more will be added. */
    this.over = false;
    this.chunks = []; // [{ start, pcm }], in order and without a hole
    this.dropped = 0; // chunks at the front that are not needed any more
  }

  add(pcm) {
    if (pcm.length === 0) return;
    this.chunks.push({ start: this.end, pcm });
    this.end += pcm.length;
  }

  /** What is to be sent next, at most so many samples; null when all is sent. */
  take(most) {
    if (this.sent >= this.end) return null;
    const pcm = this.read(this.sent, Math.min(this.end, this.sent + most));
    this.sent += pcm.length;
    return pcm;
  }

  /** The samples from `from` to before `to`, all of which must be kept. */
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

  /** Forget what is durable. */
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
   * Go on at the sample that a new connection expects. A page that was loaded again may find that the server has more
   * than it kept itself; what is heard from now on then follows that.
   */
  resume(sample) {
    if (sample > this.end) {
      this.chunks = [];
      this.dropped = 0;
      this.acked = this.end = sample;
    }
    this.sent = Math.max(sample, this.acked);
  }

  /** Begin the sound of another job with all from `sample` on; gives the sample of this one that is its sample 0. */
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
