/**
 * One recording from the first sample to the summary, across broken connections and reloads.
 *
 * Sound goes into `sound`, from there to the server, and until it is acked also into the browser's storage. If the
 * server closes the job meanwhile, the recording continues as another job, its next part, with the remaining sound.
 */

import { createJob, getJob, sentence } from "../api.js";
import { FileBuffer, LiveBuffer } from "../core/buffer.js";
import { FRAME, RATE } from "../core/pcm.js";
import { CaptureProtocol } from "../core/protocol.js";
import { Transcript } from "../core/transcript.js";
import { Connection } from "./connection.js";
import { openMicrophone } from "./microphone.js";
import { retrying, waitForEnd } from "./polling.js";
import { StoredRecording } from "./storage.js";

/**
 * Samples of the longest message: 0.48 s. Live sound is sent frame by frame; files, and sound from a time without a
 * connection, in longer messages, because the servers' cost is per message.
 */
const MAX_MESSAGE = 16 * FRAME;

/** Samples from one write of live sound to the browser's storage to the next. */
const STORE_INTERVAL = RATE / 5;

/** Samples by which the length in a job's record, which is in milliseconds, may be wrong. */
const ROUNDING = RATE / 2_000;

/** Seconds that a live recording waits to learn how much sound a closed job has. */
const CLOSED_TIMEOUT = 5;

/** Seconds that the end of a recording waits for the text of the finished job. */
const FINISHED_TIMEOUT = 5;

/** Seconds of digital silence after which the microphone is considered muted. */
const MUTED_AFTER = 4;

export class Recording extends EventTarget {
  /**
   * Events: "change", and "level" with { peak, rms } for each frame of the microphone. Arguments: as for
   * StoredRecording.
   */
  constructor(store, kind, options) {
    super();
    this.stored = new StoredRecording(store, kind, options);
    this.sound = new LiveBuffer();
    this.transcript = new Transcript();
    /** "starting", "recording", "paused", "sending", "finishing", "done", "elsewhere" or "failed". */
    this.phase = "starting";
    /** A sentence for the person, or "". */
    this.notice = "";
    /** Sentences about what is unusual about a file. */
    this.told = [];
    this.summary = null;
    this.serverState = "created";
    this.lag = 0;
    this.trouble = ""; // why the server cannot store audio at present
    this.connection = null;
    this.microphone = null;
    this.silent = 0;
    this.missing = 0;
    this.resuming = false;
  }

  get entry() {
    return this.stored.entry;
  }

  get kind() {
    return this.entry.kind;
  }

  /** Recorded seconds, in all parts. */
  get length() {
    return (this.entry.offset + this.sound.end) / RATE;
  }

  /** Seconds that are stored on the server, in all parts. */
  get saved() {
    return (this.entry.offset + this.sound.acked) / RATE;
  }

  /** Live sound that is not on the server: Int16Array. */
  get unsaved() {
    const { sound } = this;
    return this.kind === "live" && sound.end > sound.acked ? sound.read(sound.acked, sound.end) : new Int16Array(0);
  }

  get ended() {
    return ["done", "elsewhere", "failed"].includes(this.phase);
  }

  /** Why the microphone gives no sound, as a sentence, or "". */
  get silence() {
    const muted = this.microphone && this.silent > MUTED_AFTER * RATE;
    return this.microphone?.trouble || (muted ? "There is no sound. Is the microphone muted?" : "");
  }

  /** Recorded seconds that are silence because the microphone gave nothing. */
  get filled() {
    return this.missing / RATE;
  }

  /** Whether sound is only in this page, and would be lost with it. */
  get endangered() {
    const { phase, sound, stored } = this;
    return !["done", "elsewhere"].includes(phase) && Boolean(stored.problem) && sound.end > sound.acked;
  }

  /** Record from the microphone; raises MicrophoneError, or ApiError if the server refuses. */
  async record(deviceId) {
    this.entry.deviceId = deviceId;
    await this.#openMicrophone(deviceId);
    try {
      await this.#begin(null);
    } catch (error) {
      await this.microphone?.close();
      throw error;
    }
    this.#set(this.microphone ? "recording" : "paused");
  }

  /** Send a file; sound: one of those that it was decoded to. Raises ApiError. */
  async send(file, { samples, track, channel, told }) {
    Object.assign(this.entry, { name: file.name, choice: { track, channel } });
    this.told = told;
    this.sound = new FileBuffer(samples);
    await this.#begin(file);
    this.#set("sending");
  }

  /** Continue a stored recording; false if another window has it. Raises FileError. */
  async restore(entry) {
    const sound = await this.stored.restore(entry);
    if (!sound) return false;
    this.sound = sound;
    this.#connect();
    this.#set(entry.kind === "upload" ? "sending" : entry.over ? "finishing" : "paused");
    return true;
  }

  async pause() {
    if (this.phase !== "recording") return;
    this.#set("paused");
    await this.#closeMicrophone();
  }

  /** Record again after a pause; raises MicrophoneError. */
  async resume() {
    if (this.phase !== "paused" || this.resuming) return;
    this.resuming = true;
    try {
      await this.#openMicrophone(this.entry.deviceId);
    } catch (error) {
      if (error.code !== "gone") throw error;
      await this.#openMicrophone("");
      this.notice = `The chosen microphone is no longer connected: this is “${this.microphone.label}”.`;
    } finally {
      this.resuming = false;
    }
    if (this.phase === "paused") this.#set("recording");
    else await this.#closeMicrophone(); // it ended while the microphone was being opened
  }

  /** End the sound. What is not sent yet is sent, and the last text and the summary follow. */
  async stop() {
    if (this.phase !== "recording" && this.phase !== "paused") return;
    this.#set("finishing");
    await this.#closeMicrophone();
    this.sound.complete = true;
    await this.stored.update({ over: true });
    this.connection.flush();
  }

  /** The page is being left or reloaded. */
  leave() {
    if (this.ended || !this.entry.job) return;
    this.#storeSound(1);
    this.connection?.close({ reloading: true });
  }

  async #openMicrophone(deviceId) {
    this.notice = "";
    this.silent = 0;
    this.microphone = await openMicrophone(deviceId, {
      onFrame: (frame) => this.#addFrame(frame),
      onSilence: (samples) => this.#addSilence(samples),
      onNotice: (sentence) => this.#notify(sentence),
      onLost: (reason) => this.#microphoneLost(reason),
    });
  }

  async #closeMicrophone() {
    const { microphone } = this;
    this.microphone = null;
    await microphone?.close();
    this.#storeSound(1);
  }

  #addFrame({ pcm, peak, rms }) {
    if (this.sound.complete) return; // the server was told that the sound has ended
    this.silent = peak > 1 / 32_768 ? 0 : this.silent + pcm.length;
    this.#add(pcm);
    this.dispatchEvent(new CustomEvent("level", { detail: { peak, rms } }));
  }

  /** Sound is missing: with silence in its place, all that follows keeps its time. */
  #addSilence(samples) {
    if (this.sound.complete) return;
    this.silent += samples;
    this.missing += samples;
    this.#add(new Int16Array(samples));
    this.#changed();
  }

  #add(pcm) {
    this.sound.add(pcm);
    this.connection?.flush();
    this.#storeSound(STORE_INTERVAL);
  }

  async #microphoneLost(reason) {
    this.notice = reason;
    await this.#closeMicrophone();
    if (this.phase === "recording") this.#set("paused");
  }

  async #begin(file) {
    await this.stored.add(await createJob(this.entry.options), file);
    this.#connect();
  }

  #connect() {
    const protocol = new CaptureProtocol(this.sound, MAX_MESSAGE);
    this.connection = new Connection(protocol, this.entry.job);
    this.connection.addEventListener("message", ({ detail }) => this.#receive(detail));
    this.connection.addEventListener("state", () => this.#changed());
    this.connection.addEventListener("end", ({ detail }) => this.#connectionEnded(detail));
    this.connection.connect();
  }

  #receive(message) {
    switch (message.type) {
      case "ack":
        void this.stored.update({ acked: this.sound.acked });
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
        this.trouble = message.trouble ?? "";
        break;
      case "final_summary":
        void this.#finish(message.summary);
        break;
    }
    this.#changed();
  }

  /** The job is complete. Its text may have been corrected, so it is loaded once more. */
  async #finish(summary) {
    this.summary = summary;
    this.connection.close();
    void this.stored.remove();
    try {
      const { segments } = await getJob(this.entry.job, AbortSignal.timeout(FINISHED_TIMEOUT * 1_000));
      this.transcript.finish(segments);
    } catch {
      this.transcript.close(); // the text that was shown so far stays
    }
    this.#set("done");
  }

  async #connectionEnded({ outcome, reason }) {
    if (outcome === "done") return;
    try {
      if (outcome === "closed") await this.#jobClosed();
      else await this.#fail(outcome, reason);
    } catch (error) {
      await this.#fail("failed", error.message);
    }
  }

  /** End without a summary. Sound that is not on the server stays in the browser. */
  async #fail(phase, reason) {
    this.notice = sentence(reason);
    await this.#closeMicrophone();
    this.stored.unlock();
    this.#set(phase);
  }

  /** The job takes no more sound: wait for its end, and send the remaining sound to another job. */
  async #jobClosed() {
    const end = await waitForEnd(this.entry.job, {
      timeout: () => (this.microphone ? CLOSED_TIMEOUT : Infinity),
      onSegment: (segment) => this.#receive({ type: "transcript_segment", ...segment }),
      onError: (reason) => this.#notify(reason),
    });
    const stored = Math.max(end.samples ?? 0, this.sound.acked);
    if (this.microphone || this.sound.end - stored > ROUNDING) {
      await this.#nextPart(stored);
    } else if (end.state === "completed") {
      await this.#finish(end.summary);
    } else {
      await this.stored.remove();
      await this.#fail("failed", end.reason);
    }
  }

  async #nextPart(stored) {
    const { job: before, options } = this.entry;
    const title = options.title ? `${options.title} (continued)`.slice(0, 200) : null;
    const job = await retrying(
      () => createJob({ ...options, title, metadata: { continues: before } }),
      (reason) => this.#notify(reason),
    );
    await this.stored.continueAs(job, this.sound.rebase(stored), this.sound);
    this.transcript.nextPart(this.entry.offset / RATE);
    this.notice = "";
    this.#connect();
    this.#changed();
  }

  #storeSound(least) {
    if (this.kind === "live") void this.stored.addSound(this.sound, least);
  }

  #notify(reason) {
    this.notice = reason;
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
