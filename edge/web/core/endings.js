/** Why a connection ended, and what that means for the recording. Pure. */

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

/** A new connection may go on with the job. */
const PASSING = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);

/** The job takes no more sound, but goes on to its end; 4004: it is not there any more. */
const CLOSED = new Set([1000, 4004, 4008, 4009]);

const TAKEN_OVER = 4010;

/**
 * What to do after a connection ended: "again", "closed" (the job takes no more sound), "elsewhere" (another connection
 * has it) or "failed". refusal: the server's last message of type "error", if there was one.
 */
export function verdict(code, refusal) {
  if (refusal?.code === "gap") return "closed"; // the server lost what it had acked: the rest needs another job
  if (CLOSED.has(code)) return "closed";
  if (PASSING.has(code)) return "again";
  return code === TAKEN_OVER ? "elsewhere" : "failed";
}

/** Why it ended, as a clause for a person. */
export function explain(code, reason, refusal) {
  return refusal?.message || MEANINGS[code] || reason || `the connection was closed with ${code}`;
}
