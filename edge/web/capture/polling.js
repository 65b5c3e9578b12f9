/** Reading a job's record until the job is complete, and repeating requests that fail for a while. */

import { getJob } from "../api.js";
import { RATE } from "../core/pcm.js";
import { backoff } from "../core/protocol.js";

const POLL_INTERVAL = 1_000;

/**
 * Wait for the end of a job. Gives { state, samples, summary, reason }: samples is null if the amount of its sound is
 * unknown. timeout: a function that gives the seconds to wait; onSegment: called with each final; onError: with a
 * sentence for each request that failed.
 */
export async function waitForEnd(job, { timeout, onSegment, onError }) {
  const since = performance.now();
  while (true) {
    let record;
    try {
      record = await retrying(() => getJob(job), onError);
    } catch (error) {
      return { state: "gone", samples: null, summary: null, reason: error.message };
    }
    record.segments.forEach(onSegment);
    if (record.state === "completed") {
      return { state: "completed", samples: Math.round(record.duration * RATE), summary: record.summary, reason: "" };
    }
    if (["failed", "deleted"].includes(record.state)) {
      return { state: record.state, samples: null, summary: null, reason: `The recording is ${record.state}.` };
    }
    if (performance.now() - since > timeout() * 1_000) {
      return { state: record.state, samples: null, summary: null, reason: "" };
    }
    await pause(POLL_INTERVAL);
  }
}

/** Repeat a request while it fails for a passing reason; raises ApiError for any other. */
export async function retrying(request, onError) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await request();
    } catch (error) {
      if (!error.retryable) throw error;
      onError(error.message);
      await pause(backoff(attempt, Math.random(), error.retryAfter ?? 0) * 1_000);
    }
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
