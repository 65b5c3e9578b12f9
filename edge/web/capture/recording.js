/**
 * One recording from the first sample to the summary, whatever breaks on the way.
 *
 * Sound goes into `sound` and out over a line; what is not acked is kept in the browser too. A job that the server has
 * closed meanwhile is followed by another one, its next part, with the sound that is left.
 */

import { createJob, sentence } from "../api.js";
import { Conversation } from "../core/conversation.js";
import { FRAME, RATE } from "../core/pcm.js";
import { Tail } from "../core/tail.js";
import { Transcript } from "../core/transcript.js";
import { Upload } from "../core/upload.js";
import { decode } from "./file.js";
import { follow, persistently } from "./follow.js";
import { Kept } from "./kept.js";
import { Line } from "./line.js";
import { openMicrophone } from "./microphone.js";

/**
 * Samples in a message at most: 0.48 s. Live sound goes out as it comes; a file, and what has piled up without a line,
 * go in longer messages, because what a message costs the servers hardly depends on its length.
 */
const LONGEST_MESSAGE = 16 * FRAME;

/** Samples after which live sound is written to the browser's storage. */
const KEEP_EVERY = RATE / 5;

/** Samples by which the length in a job's record, in milliseconds, may be wrong. */
const ROUNDING = RATE / 2_000;

/** Seconds for which live sound waits to hear how much of it a closed job has. */
const CLOSED_WITHIN = 5;

/** Seconds of perfect silence after which the microphone is taken for muted. */
const MUTED_AFTER = 4;

export class Recording extends EventTarget {
  /** Events: "change", and "level" with { peak, rms } for each frame of the microphone. The rest: as for Kept. */
  constructor(keep, kind, options) {
    super();
    this.kept = new Kept(keep, kind, options);
    this.sound = new Tail();
    this.transcript = new Transcript();
    /** "starting", "recording", "paused", "sending", "finishing", "done", "elsewhere" or "failed". */
    this.phase = "starting";
    /** What a person should know, in a sentence. */
    this.notice = "";
    this.summary = null;
    this.serverState = "created";
    this.lag = 0;
    this.line = null;
    this.microphone = null;
    this.silent = 0;
    this.resuming = false;
  }

  get entry() {
    return this.kept.entry;
  }

  get kind() {
    return this.entry.kind;
  }

  /** Seconds that were recorded, in all parts. */
  get length() {
    return (this.entry.offset + this.sound.end) / RATE;
  }

  /** Seconds that are durable on the server, in all parts. */
  get saved() {
    return (this.entry.offset + this.sound.acked) / RATE;
  }

  /** Live sound that the server does not have: Int16Array. */
  get unsaved() {
    const { sound } = this;
    return this.kind === "live" && sound.end > sound.acked ? sound.read(sound.acked, sound.end) : new Int16Array(0);
  }

  get over() {
    return ["done", "elsewhere", "failed"].includes(this.phase);
  }

  get muted() {
    return this.silent > MUTED_AFTER * RATE;
  }

  /** Record from the microphone; raises MicrophoneError, or ApiError where the server refuses. */
  async record(deviceId) {
    this.entry.deviceId = deviceId;
    await this.#listen(deviceId);
    try {
      await this.#begin(null);
    } catch (error) {
      await this.microphone?.close();
      throw error;
    }
    this.#set(this.microphone ? "recording" : "paused");
  }

  /** Send a file; raises FileError or ApiError. */
  async send(file) {
    this.entry.name = file.name;
    this.sound = new Upload(await decode(file));
    await this.#begin(file);
    this.#set("sending");
  }

  /** Go on with a recording that the browser has kept; false if another window has it. Raises FileError. */
  async restore(entry) {
    const sound = await this.kept.restore(entry);
    if (!sound) return false;
    this.sound = sound;
    this.#connect();
    this.#set(entry.kind === "upload" ? "sending" : entry.over ? "finishing" : "paused");
    return true;
  }

  async pause() {
    if (this.phase !== "recording") return;
    this.#set("paused");
    await this.#silence();
  }

  /** Record again after a pause; raises MicrophoneError. */
  async resume() {
    if (this.phase !== "paused" || this.resuming) return;
    this.resuming = true;
    try {
      await this.#listen(this.entry.deviceId);
    } catch (error) {
      if (error.code !== "gone") throw error;
      await this.#listen("");
    } finally {
      this.resuming = false;
    }
    if (this.phase === "paused") this.#set("recording");
    else await this.#silence(); // it was finished, or broke, while the microphone was being opened
  }

  /** No more sound; what there is is still sent, and its text and summary come. */
  async stop() {
    if (this.phase !== "recording" && this.phase !== "paused") return;
    this.#set("finishing");
    await this.#silence();
    this.sound.over = true;
    await this.kept.note({ over: true });
    this.line.pump();
  }

  /** The page is going away, perhaps to be loaded again. */
  leave() {
    if (this.over || !this.entry.job) return;
    this.#keepSound(1);
    this.line?.close({ back: true });
  }

  async #listen(deviceId) {
    this.notice = "";
    this.silent = 0;
    this.microphone = await openMicrophone({
      deviceId,
      onFrame: (frame) => this.#hear(frame),
      onLost: (why) => this.#lose(why),
    });
  }

  async #silence() {
    const { microphone } = this;
    this.microphone = null;
    await microphone?.close();
    this.#keepSound(1);
  }

  #hear({ pcm, peak, rms }) {
    if (this.sound.over) return; // the server was told that this was all
    this.silent = peak > 1 / 32_768 ? 0 : this.silent + pcm.length;
    this.sound.add(pcm);
    this.line?.pump();
    this.#keepSound(KEEP_EVERY);
    this.dispatchEvent(new CustomEvent("level", { detail: { peak, rms } }));
  }

  async #lose(why) {
    this.notice = why;
    await this.#silence();
    if (this.phase === "recording") this.#set("paused");
  }

  async #begin(file) {
    const { job, path } = await createJob(this.entry.options);
    await this.kept.begin(job, path, file);
    this.#connect();
  }

  #connect() {
    const conversation = new Conversation(this.sound, LONGEST_MESSAGE);
    this.line = new Line(conversation, this.entry.path);
    this.line.addEventListener("message", ({ detail }) => this.#told(detail));
    this.line.addEventListener("state", () => this.#changed());
    this.line.addEventListener("verdict", ({ detail }) => this.#judged(detail));
    this.line.connect();
  }

  #told(message) {
    switch (message.type) {
      case "ack":
        void this.kept.note({ acked: this.sound.acked });
        break;
      case "speech_started":
        this.transcript.speech(message.start);
        break;
      case "partial":
        this.transcript.partial(message);
        break;
      case "transcript_segment":
        this.transcript.final(message);
        break;
      case "status":
        this.serverState = message.state;
        this.lag = message.lag;
        break;
      case "final_summary":
        this.#finish(message.summary);
        break;
    }
    this.#changed();
  }

  #finish(summary) {
    this.summary = summary;
    this.transcript.close();
    this.line.close();
    void this.kept.end();
    this.#set("done");
  }

  async #judged({ then, why }) {
    if (then === "done") return;
    try {
      if (then === "closed") await this.#goOn();
      else await this.#break(then, why);
    } catch (error) {
      await this.#break("failed", error.message);
    }
  }

  /** The end without a summary. What is not on the server stays in the browser. */
  async #break(phase, why) {
    this.notice = sentence(why);
    await this.#silence();
    this.kept.letGo();
    this.#set(phase);
  }

  /** The job takes no more sound: hear it to its end, and give what it does not have to another one. */
  async #goOn() {
    const known = await follow(this.entry.job, {
      patience: () => (this.microphone ? CLOSED_WITHIN : Infinity),
      onSegment: (segment) => this.#told({ type: "transcript_segment", ...segment }),
      onTrouble: (why) => this.#trouble(why),
    });
    const stored = Math.max(known.samples ?? 0, this.sound.acked);
    if (this.microphone || this.sound.end - stored > ROUNDING) {
      await this.#nextPart(stored);
    } else if (known.state === "completed") {
      this.#finish(known.summary);
    } else {
      await this.kept.end();
      await this.#break("failed", known.why);
    }
  }

  async #nextPart(stored) {
    const { job: before, options } = this.entry;
    const title = options.title ? `${options.title} (continued)`.slice(0, 200) : null;
    const { job, path } = await persistently(
      () => createJob({ ...options, title, metadata: { continues: before } }),
      (why) => this.#trouble(why),
    );
    await this.kept.next(job, path, this.sound.rebase(stored), this.sound);
    this.transcript.nextPart(this.entry.offset / RATE);
    this.notice = "";
    this.#connect();
    this.#changed();
  }

  #keepSound(least) {
    if (this.kind === "live") void this.kept.sound(this.sound, least);
  }

  #trouble(why) {
    this.notice = why;
    this.#changed();
  }

  #set(phase) {
    this.phase = phase;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
