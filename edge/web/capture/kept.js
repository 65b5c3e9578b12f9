/** What the browser keeps of one recording, so that it can go on after the page was loaded again. */

import { Tail } from "../core/tail.js";
import { Upload } from "../core/upload.js";
import { decode } from "./file.js";
import { hold } from "./lock.js";

export class Kept {
  /** keep: a Keep; kind: "live" or "upload"; options: as for `createJob`. */
  constructor(keep, kind, options) {
    this.keep = keep;
    // offset: samples of the recording before this job; parts: the jobs that have them; at: when this was written last.
    this.entry = { job: "", path: "", kind, options, offset: 0, parts: [], acked: 0, over: false, at: 0 };
    /** Why not everything can be kept, or nothing. */
    this.trouble = "";
    this.to = 0;
    this.letGo = () => {};
  }

  /** A job was created; file: what is being sent, if that is a file. */
  async begin(job, path, file) {
    this.letGo = (await hold(job)) ?? this.letGo;
    await this.#write({ job, path }, (keep, entry) => keep.begin(entry, file));
  }

  /** Take over what another page has kept; gives its sound, or null where a window has it. Raises FileError. */
  async restore(entry) {
    const letGo = await hold(entry.job);
    if (!letGo) return null;
    this.letGo = letGo;
    this.entry = entry;
    if (entry.kind === "upload") {
      const upload = new Upload(await decode(await this.keep.file(entry.job)), entry.offset);
      upload.ack(entry.acked);
      return upload;
    }
    const kept = await this.keep.sound(entry.job);
    const tail = new Tail(kept[0]?.start ?? entry.acked);
    for (const { start, pcm } of kept) tail.add(pcm.subarray(tail.end - start));
    tail.ack(entry.acked);
    tail.over = entry.over;
    this.to = tail.end;
    return tail;
  }

  /** Note how far it is: `acked`, `over`. */
  async note(news) {
    await this.#write(news, (keep, entry) => keep.update(entry));
  }

  /** Write the sound of a tail, if at least so many samples of it are not written yet. */
  async sound(tail, least) {
    const from = Math.max(this.to, tail.acked);
    if (!this.entry.job || tail.end - from < least) return;
    this.to = tail.end;
    const written = await this.#write({}, (keep, { job }) => keep.add(job, from, tail.read(from, tail.end)));
    if (!written) this.to = Math.min(this.to, from);
  }

  /** Another job goes on with the recording, `offset` samples after the beginning of this one. */
  async next(job, path, offset, sound) {
    const { entry } = this;
    this.letGo();
    this.letGo = (await hold(job)) ?? (() => {});
    const live = entry.kind === "live" && sound.end > 0;
    this.to = live ? sound.end : 0;
    const parts = [...entry.parts, entry.job];
    await this.#write({ job, path, parts, offset: entry.offset + offset, acked: 0 }, (keep, next) =>
      keep.move(entry.job, next, live ? sound.read(0, sound.end) : null),
    );
  }

  /** Forget it. */
  async end() {
    await this.#write({}, (keep, { job }) => keep.end(job));
    this.letGo();
  }

  async #write(news, change) {
    this.entry = { ...this.entry, ...news, at: Date.now() };
    try {
      await change(this.keep, this.entry);
      this.trouble = this.keep.works ? "" : "this browser keeps nothing here";
      return true;
    } catch (error) {
      this.trouble = error?.message || "its storage failed";
      return false;
    }
  }
}
