/**
 * What must outlive the page: recordings that are not finished, and their sound that is not acked, in IndexedDB.
 *
 * A browser that keeps nothing (private windows of some) gives a Keep that does nothing; `works` tells.
 */

const NAME = "stenobus";
const VERSION = 1;

export class Keep {
  /** Open it; never raises. */
  static async open() {
    try {
      return new Keep(await opened());
    } catch {
      return new Keep(null);
    }
  }

  constructor(db) {
    this.db = db;
    this.works = db !== null;
  }

  /** Remember a recording: { job, path, kind, options, offset, parts, acked, over, at, ... }; file: a Blob to go with it. */
  async begin(entry, file = null) {
    await this.#write(["recordings", "files"], (recordings, files) => {
      recordings.put(entry);
      if (file) files.put(file, entry.job);
    });
  }

  /** Note how far a recording is; sound below `entry.acked` is forgotten. */
  async update(entry) {
    await this.#write(["recordings", "sound"], (recordings, sound) => {
      recordings.put(entry);
      const request = sound.openCursor(soundOf(entry.job));
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || cursor.key[1] + cursor.value.length > entry.acked) return;
        cursor.delete();
        cursor.continue();
      };
    });
  }

  /** Remember sound from sample `start` on. */
  async add(job, start, pcm) {
    await this.#write(["sound"], (sound) => sound.put(pcm, [job, start]));
  }

  /** Another job goes on with a recording, with `pcm` as its first sound. */
  async move(job, entry, pcm) {
    await this.#write(["recordings", "sound", "files"], (recordings, sound, files) => {
      recordings.delete(job);
      recordings.put(entry);
      sound.delete(soundOf(job));
      if (pcm?.length) sound.put(pcm, [entry.job, 0]);
      const request = files.get(job);
      request.onsuccess = () => {
        if (request.result) files.put(request.result, entry.job);
        files.delete(job);
      };
    });
  }

  /** Forget a recording. */
  async end(job) {
    await this.#write(["recordings", "sound", "files"], (recordings, sound, files) => {
      recordings.delete(job);
      sound.delete(soundOf(job));
      files.delete(job);
    });
  }

  /** All recordings that are remembered, as `begin` was given them. */
  async unfinished() {
    return this.#read("recordings", (recordings) => recordings.getAll());
  }

  /** The sound of a recording that is remembered: [{ start, pcm }] in order. */
  async sound(job) {
    const [keys, values] = await Promise.all([
      this.#read("sound", (sound) => sound.getAllKeys(soundOf(job))),
      this.#read("sound", (sound) => sound.getAll(soundOf(job))),
    ]);
    return keys.map(([, start], index) => ({ start, pcm: values[index] }));
  }

  /** The file of a recording, or null. */
  async file(job) {
    return (await this.#read("files", (files) => files.get(job), null)) ?? null;
  }

  async #read(name, ask, none = []) {
    if (!this.db) return none;
    const request = ask(this.db.transaction(name).objectStore(name));
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

function opened() {
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

function soundOf(job) {
  return IDBKeyRange.bound([job, 0], [job, Infinity]);
}
