/**
 * Recordings that must survive a reload of the page, in IndexedDB: unfinished ones, with their sound that is not acked.
 *
 * Some browsers store nothing in private windows: there a Store does nothing, and `available` is false.
 */

import { storageName } from "../base.js";
import { FileBuffer, LiveBuffer } from "../core/buffer.js";
import { RATE } from "../core/pcm.js";
import { decode, FileError } from "./file.js";

const NAME = storageName("stenobus");
const VERSION = 1;

/** Milliseconds within which a window that is reloading releases its lock. */
const LOCK_TIMEOUT = 2_000;

/** Milliseconds that the page waits for a database that does not open: some browsers have failed so. */
const OPEN_TIMEOUT = 3_000;

/** Milliseconds after a failure in which no sound is written: each attempt copies all that is not stored. */
const RETRY_INTERVAL = 5_000;

/** Samples of sound in one write. */
const MAX_SOUND = 60 * RATE;

export class Store {
  /** Open the database; never raises. */
  static async open() {
    const store = new Store();
    await Promise.race([store.#connect(), new Promise((resolve) => setTimeout(resolve, OPEN_TIMEOUT))]);
    return store;
  }

  constructor() {
    this.db = null;
    /** How often it was opened: what was stored before the last time is gone. */
    this.opened = 0;
  }

  get available() {
    return this.db !== null;
  }

  async #connect() {
    try {
      const db = await openDatabase();
      this.db = db;
      this.opened += 1;
      const lost = () => {
        db.close();
        this.db = null;
        void this.#connect();
      };
      db.addEventListener("close", lost); // the browser has made room, or the person has deleted the data of the page
      db.addEventListener("versionchange", lost); // another window deletes it, and waits for this one
    } catch {
      this.db = null;
    }
  }

  /** Store a recording: { job, kind, options, offset, parts, acked, over, at, ... }; file: a Blob or null. */
  async add(entry, file = null) {
    await this.#write(["recordings", "files"], (recordings, files) => {
      recordings.put(entry);
      if (file) files.put(file, entry.job);
    });
  }

  /** Store how far a recording is; sound below `entry.acked` is deleted. */
  async update(entry) {
    await this.#write(["recordings", "sound"], (recordings, sound) => {
      recordings.put(entry);
      const request = sound.openCursor(soundRange(entry.job));
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || cursor.key[1] + cursor.value.length > entry.acked) return;
        cursor.delete();
        cursor.continue();
      };
    });
  }

  /** Store sound that begins at sample `start`, and the recording, which may have failed before. */
  async addSound(entry, start, pcm) {
    await this.#write(["recordings", "sound"], (recordings, sound) => {
      recordings.put(entry);
      sound.put(pcm, [entry.job, start]);
    });
  }

  /** Continue a recording as another job, with `pcm` as its first sound. */
  async move(job, entry, pcm) {
    await this.#write(["recordings", "sound", "files"], (recordings, sound, files) => {
      recordings.delete(job);
      recordings.put(entry);
      sound.delete(soundRange(job));
      if (pcm?.length) sound.put(pcm, [entry.job, 0]);
      const request = files.get(job);
      request.onsuccess = () => {
        if (request.result) files.put(request.result, entry.job);
        files.delete(job);
      };
    });
  }

  /** Delete a recording. */
  async remove(job) {
    await this.#write(["recordings", "sound", "files"], (recordings, sound, files) => {
      recordings.delete(job);
      sound.delete(soundRange(job));
      files.delete(job);
    });
  }

  /** All stored recordings, as they were given to `add` and `update`. */
  async recordings() {
    return this.#read("recordings", (recordings) => recordings.getAll());
  }

  /** The stored sound of a recording: [{ start, pcm }] in order. */
  async sound(job) {
    const [keys, values] = await Promise.all([
      this.#read("sound", (sound) => sound.getAllKeys(soundRange(job))),
      this.#read("sound", (sound) => sound.getAll(soundRange(job))),
    ]);
    return keys.map(([, start], index) => ({ start, pcm: values[index] }));
  }

  /** The file of a recording, or null. */
  async file(job) {
    return (await this.#read("files", (files) => files.get(job), null)) ?? null;
  }

  async #read(name, query, fallback = []) {
    if (!this.db) return fallback;
    const request = query(this.db.transaction(name).objectStore(name));
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  async #write(names, change) {
    if (!this.db) return;
    const transaction = this.db.transaction(names, "readwrite");
    change(...names.map((name) => transaction.objectStore(name)));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  }
}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("recordings", { keyPath: "job" });
      request.result.createObjectStore("sound"); // [job, first sample] -> Int16Array
      request.result.createObjectStore("files"); // job -> Blob
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function soundRange(job) {
  return IDBKeyRange.bound([job, 0], [job, Infinity]);
}

/** One recording in the store, so that it can continue after a reload. */
export class StoredRecording {
  /** store: a Store; kind: "live" or "upload"; options: as for `createJob`. */
  constructor(store, kind, options) {
    this.store = store;
    // offset: samples of the recording before this job; parts: the jobs that have those; at: time of the last change.
    this.entry = { job: "", kind, options, offset: 0, parts: [], acked: 0, over: false, at: 0 };
    this.failures = { file: "", entry: "", sound: "" };
    this.storedEnd = 0; // the first sample that is not stored yet
    this.retryAt = 0;
    this.opened = store.opened;
    this.unlock = () => {};
  }

  /** Why the recording is not stored, or not all of it, as a clause, or "". */
  get problem() {
    const { file, entry, sound } = this.failures;
    return file || sound || entry;
  }

  /** Store a new recording; file: the file that it sends, or null. */
  async add(job, file) {
    this.unlock = (await lockJob(job)) ?? this.unlock;
    await this.#write(file ? "file" : "entry", { job }, (store, entry) => store.add(entry, file));
  }

  /** Load a stored recording; gives its sound, or null if another window has it. Raises FileError. */
  async restore(entry) {
    const unlock = await lockJob(entry.job);
    if (!unlock) return null;
    this.unlock = unlock;
    this.entry = entry;
    if (entry.kind === "upload") {
      const file = await this.store.file(entry.job);
      if (!file) throw new FileError("the browser did not store the file. Please choose it again.");
      const [{ samples }] = await decode(file, entry.choice);
      const buffer = new FileBuffer(samples, entry.offset);
      buffer.ack(entry.acked);
      return buffer;
    }
    const chunks = await this.store.sound(entry.job);
    const buffer = new LiveBuffer(Math.min(entry.acked, chunks[0]?.start ?? entry.acked));
    for (const { start, pcm } of chunks) {
      if (start > buffer.end) buffer.add(new Int16Array(start - buffer.end)); // not stored: silence keeps its place
      buffer.add(pcm.subarray(buffer.end - start));
    }
    buffer.ack(entry.acked);
    buffer.complete = entry.over;
    this.storedEnd = buffer.end;
    return buffer;
  }

  /** Store how far it is: `acked`, `over` (no more sound will come). */
  async update(changes) {
    await this.#write("entry", changes, (store, entry) => store.update(entry));
  }

  /** Store the sound of a LiveBuffer, if at least `least` samples of it are not stored yet. */
  async addSound(buffer, least) {
    if (this.opened !== this.store.opened) {
      this.opened = this.store.opened;
      this.storedEnd = this.retryAt = 0;
    }
    const from = Math.max(this.storedEnd, buffer.acked);
    if (!this.entry.job || buffer.end - from < least || performance.now() < this.retryAt) return;
    const to = Math.min(buffer.end, from + MAX_SOUND);
    this.storedEnd = to;
    const pcm = buffer.read(from, to);
    if (await this.#write("sound", {}, (store, entry) => store.addSound(entry, from, pcm))) {
      this.failures.entry = "";
    } else {
      this.storedEnd = Math.min(this.storedEnd, from);
      this.retryAt = performance.now() + RETRY_INTERVAL;
    }
  }

  /** Continue the recording as another job, `offset` samples after the beginning of the current one. */
  async continueAs(job, offset, sound) {
    const { entry } = this;
    this.unlock();
    this.unlock = (await lockJob(job)) ?? (() => {});
    const live = entry.kind === "live" && sound.end > 0;
    this.storedEnd = live ? sound.end : 0;
    const parts = [...entry.parts, entry.job];
    await this.#write("entry", { job, parts, offset: entry.offset + offset, acked: 0 }, (store, next) =>
      store.move(entry.job, next, live ? sound.read(0, sound.end) : null),
    );
  }

  /** Delete the recording. */
  async remove() {
    await this.#write("entry", {}, (store, { job }) => store.remove(job));
    this.unlock();
  }

  async #write(what, changes, write) {
    this.entry = { ...this.entry, ...changes, at: Date.now() };
    try {
      await write(this.store, this.entry);
      this.failures[what] = this.store.available ? "" : "this browser stores nothing for this page";
    } catch (error) {
      this.failures[what] = reasonOf(error);
    }
    return this.failures[what] === "";
  }
}

/** Why a write or a read failed, as a clause. */
export function reasonOf(error) {
  if (error?.name === "QuotaExceededError") return "the storage of this browser is full";
  return `the storage of this browser has failed${error?.message ? ` (${error.message.replace(/\.$/, "")})` : ""}`;
}

/** Lock a job, so that two windows do not continue it; gives a function that unlocks it, or null if a window has it. */
export async function lockJob(job) {
  if (!navigator.locks) return () => {}; // pages without https have no locks: the server then ends the older connection
  return new Promise((resolve) => {
    const locked = () => new Promise((release) => resolve(release));
    navigator.locks
      .request(`stenobus/${job}`, { signal: AbortSignal.timeout(LOCK_TIMEOUT) }, locked)
      .catch(() => resolve(null));
  });
}
