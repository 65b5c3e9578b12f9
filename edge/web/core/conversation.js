/**
 * One job's capture as a protocol, over all the connections that it takes: what to send next, and what was told. Pure:
 * it knows no socket and no clock. The messages are those of the README, "Speak to it".
 */

import { backoff } from "./backoff.js";
import { explain, verdict } from "./endings.js";

export const STOP = JSON.stringify({ command: "stop" });
export const KEEPALIVE = JSON.stringify({ command: "keepalive" });

export class Conversation {
  /** sound: a Tail or an Upload; most: samples in a message, at most one second. */
  constructor(sound, most) {
    this.sound = sound;
    this.most = most;
    this.welcomed = false;
    this.finished = false;
    this.attempt = 0;
    this.saidStop = false;
    this.refusal = null;
    this.broken = 0; // connections that ended without a word: one of them may yet reach the server
  }

  /** A connection is about to be opened; gives the first sample that there still is, for its address. */
  begin() {
    this.welcomed = false;
    this.saidStop = false;
    this.refusal = null;
    return this.sound.acked;
  }

  /** A text message of the server; gives it as an object, or null for what is not one. */
  receive(text) {
    const message = parse(text);
    switch (message?.type) {
      case "connection_success":
        this.sound.resume(message.next_sample);
        this.welcomed = true;
        break;
      case "ack":
        this.sound.ack(message.samples);
        this.attempt = 0;
        break;
      case "transcript_segment":
        this.attempt = 0;
        break;
      case "error":
        this.refusal = message;
        break;
      case "final_summary":
        this.finished = true;
        break;
    }
    return message;
  }

  /** What to send next: samples, a text, or null while there is nothing. */
  next() {
    if (!this.welcomed || this.saidStop) return null;
    const pcm = this.sound.take(this.most);
    if (pcm || !this.sound.over) return pcm;
    this.saidStop = true;
    return STOP;
  }

  /**
   * The connection is gone. Gives { then, why, after }: then is "done", "again" after so many seconds, "closed" (the
   * job takes no more sound), "elsewhere" (another connection has the job), or "failed". chance: uniform in 0..1.
   */
  ended(code, reason, chance) {
    this.welcomed = false;
    if (this.finished) return { then: "done" };
    let then = verdict(code, this.refusal);
    if (then === "elsewhere" && this.broken > 0) {
      // A connection that was given up reached its server late and took the job. It can do so once.
      this.broken -= 1;
      then = "again";
    } else if (then === "again") {
      this.broken += 1;
    }
    const why = explain(code, reason, this.refusal);
    if (then !== "again") return { then, why };
    this.attempt += 1;
    return { then, why, after: backoff(this.attempt, chance, this.refusal?.retry_after) };
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
