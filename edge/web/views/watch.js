/** A job that goes on, by its server-sent events. */

import { getJob, jobUrl } from "../api.js";
import { isLive } from "../core/format.js";

/** Milliseconds between looks at the record where the stream of events is refused. */
const LOOK_EVERY = 2_000;

/** States that events tell of. */
const STATES = { opened: "streaming", closed: "transcribing" };

export class Watch {
  /** onSegment: for each final; onState: for each state on the way; onEnd: when the job changes no more. */
  constructor(job, { onSegment, onState, onEnd }) {
    this.job = job;
    this.on = { onSegment, onState, onEnd };
    const events = new EventSource(jobUrl(job, "events"));
    this.events = events;
    events.addEventListener("transcript", ({ data }) => {
      const segment = JSON.parse(data);
      if ((segment.generation ?? 1) === 1) onSegment(segment); // a later one belongs to a replay
    });
    for (const [kind, state] of Object.entries(STATES)) events.addEventListener(kind, () => onState(state));
    events.addEventListener("completed", onEnd);
    // A broken stream is opened again by the browser; one that is refused is not.
    events.addEventListener("error", () => events.readyState === EventSource.CLOSED && this.#look());
  }

  close() {
    this.events.close();
    clearTimeout(this.timer);
    this.closed = true;
  }

  async #look() {
    try {
      const record = await getJob(this.job);
      if (this.closed) return;
      record.segments.forEach(this.on.onSegment);
      this.on.onState(record.state);
      if (!isLive(record.state)) return this.on.onEnd();
    } catch {
      // the next look may do better
    }
    if (!this.closed) this.timer = setTimeout(() => this.#look(), LOOK_EVERY);
  }
}
