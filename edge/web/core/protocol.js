/**
 * The capture protocol of one job over all its connections: what to send next, what a message of the server means, and
 * whether to reconnect. Pure: it knows no socket and no clock. The messages are described in `/asyncapi.json`.
 */

export const STOP = JSON.stringify({ command: "stop" });
export const KEEPALIVE = JSON.stringify({ command: "keepalive" });

export class CaptureProtocol {
  /** sound: a LiveBuffer or a FileBuffer; most: samples in a message, at most one second. */
  constructor(sound, most) {
    this.sound = sound;
    this.most = most;
    this.accepted = false;
    this.finished = false;
    this.attempt = 0;
    this.stopSent = false;
    this.error = null;
    this.brokenConnections = 0; // each may still reach the server late
  }

  /** Prepare a new connection; gives the first sample that is still here, for its address. */
  begin() {
    this.accepted = false;
    this.stopSent = false;
    this.error = null;
    return this.sound.acked;
  }

  /** Handle a message of the server; gives it as an object, or null for one that cannot be read. */
  receive(text) {
    const message = parse(text);
    switch (message?.type) {
      case "connection_success":
        this.sound.resume(message.next_sample);
        this.accepted = true;
        break;
      case "ack":
        this.sound.ack(message.samples);
        this.attempt = 0;
        break;
      case "transcript_segment":
        this.attempt = 0;
        break;
      case "error":
        this.error = message;
        break;
      case "final_summary":
        this.finished = true;
        break;
    }
    return message;
  }

  /** What to send next: samples, a text, or null while nothing is ready. */
  next() {
    if (!this.accepted || this.stopSent) return null;
    const pcm = this.sound.take(this.most);
    if (pcm || !this.sound.complete) return pcm;
    this.stopSent = true;
    return STOP;
  }

  /**
   * The connection was closed. Gives { outcome, reason, after }: outcome is "done", "retry" after so many seconds,
   * "closed" (the job takes no more sound), "elsewhere" (another connection has the job), or "failed". chance: uniform
   * in 0..1.
   */
  closed(code, closeReason, chance) {
    this.accepted = false;
    if (this.finished) return { outcome: "done" };
    let outcome = outcomeOf(code, this.error);
    if (outcome === "elsewhere" && this.brokenConnections > 0) {
      // A connection that was given up can reach the server late and take the job over, once.
      this.brokenConnections -= 1;
      outcome = "retry";
    } else if (outcome === "retry") {
      this.brokenConnections += 1;
    }
    const reason = explain(code, closeReason, this.error);
    if (outcome !== "retry") return { outcome, reason };
    this.attempt += 1;
    return { outcome, reason, after: backoff(this.attempt, chance, this.error?.retry_after) };
  }
}

function parse(text) {
  try {
    const message = JSON.parse(text);
    return typeof message?.type === "string" ? message : null;
  } catch {
    return null;
  }
}

const MEANINGS = {
  1001: "the server is going away",
  1005: "the connection ended without a reason",
  1006: "the connection broke",
  1008: "protocol error",
  1009: "frame too large",
  1011: "internal error of the server",
  1012: "the server is restarting",
  1013: "the server cannot take it now",
  1014: "a gateway has lost the server",
  4001: "not authorised",
  4004: "the server does not know this recording",
  4008: "idle for too long",
  4009: "the recording is already closed",
  4010: "taken over by a newer connection",
};

/** A new connection may continue the job. */
const RETRIED = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);

/** The job takes no more sound, but will be completed; 4004: it does not exist any more. */
const CLOSED = new Set([1000, 4004, 4008, 4009]);

const TAKEN_OVER = 4010;

/** What to do after a connection was closed; error: the server's last message of type "error", or null. */
function outcomeOf(code, error) {
  if (error?.code === "gap") return "closed"; // the server lost sound that it had acked: the rest needs another job
  if (CLOSED.has(code)) return "closed";
  if (RETRIED.has(code)) return "retry";
  return code === TAKEN_OVER ? "elsewhere" : "failed";
}

/** Why it was closed, as a clause for a person. */
function explain(code, reason, error) {
  return error?.message || MEANINGS[code] || reason || `the connection was closed with ${code}`;
}

const FIRST_DELAY = 0.2;
export const MAX_DELAY = 5;

/**
 * Seconds to wait before attempt 1, 2, ...; chance: uniform in 0..1; least: what the server asked for.
 * "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function backoff(attempt, chance, least = 0) {
  return Math.max(least, chance * Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(attempt - 1, 30)));
}
