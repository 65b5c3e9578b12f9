/** What becomes of a job that takes no more sound, by its record. */

import { getJob } from "../api.js";
import { backoff } from "../core/backoff.js";
import { RATE } from "../core/pcm.js";

const LOOK_EVERY = 1_000;

/**
 * Wait until a job is at its end. Gives { state, samples, summary, why }: samples is null where it is not known how
 * much sound the job has. patience: seconds to wait, asked each time; onSegment, onTrouble: what is found on the way.
 */
export async function follow(job, { patience, onSegment, onTrouble }) {
  const since = performance.now();
  while (true) {
    let record;
    try {
      record = await persistently(() => getJob(job), onTrouble);
    } catch (error) {
      return { state: "gone", samples: null, summary: null, why: error.message };
    }
    record.segments.forEach(onSegment);
    if (record.state === "completed") {
      return { state: "completed", samples: Math.round(record.duration * RATE), summary: record.summary, why: "" };
    }
    if (["failed", "deleted"].includes(record.state)) {
      return { state: record.state, samples: null, summary: null, why: `The recording is ${record.state}.` };
    }
    if (performance.now() - since > patience() * 1_000) {
      return { state: record.state, samples: null, summary: null, why: "" };
    }
    await pause(LOOK_EVERY);
  }
}

/** Ask again for as long as that may help; raises ApiError when it does not. */
export async function persistently(ask, onTrouble) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (!error.passing) throw error;
      onTrouble(error.message);
      await pause(backoff(attempt, Math.random(), error.retryAfter ?? 0) * 1_000);
    }
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
