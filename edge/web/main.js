/** The page: its views, and the recording, which continues whichever view is shown. */

import { BASE, currentPath } from "./base.js";
import { allowed, ScreenLock } from "./capture/microphone.js";
import { decode } from "./capture/file.js";
import { Recording } from "./capture/recording.js";
import { reasonOf, Store } from "./capture/storage.js";
import { clock } from "./core/format.js";
import { fill, h, setText } from "./dom.js";
import { CaptureView } from "./views/capture.js";
import { JobView } from "./views/job.js";
import { JobsView } from "./views/jobs.js";
import { acceptDrops, themeButton } from "./views/page.js";

/* Ages of a stored recording, in milliseconds. */

/** Up to this age it is shown again; an older one is only finished in the background. */
const RECENT = 10 * 60_000;

/** Up to this age the microphone is opened again without asking. */
const RELOADED = 30_000;

/** From this age on it is deleted, even if its sound never reached a server. */
const EXPIRED = 7 * 24 * 3_600_000;

/** Characters of a job's title. */
const MAX_TITLE = 200;

/** Milliseconds that a message is shown. */
const TOAST_TIME = 5_000;

class App extends EventTarget {
  /** Events: "recording" when `recording` has changed, "theme" when the colours have changed. */
  constructor(store) {
    super();
    this.store = store;
    this.recording = null;
    this.screenLock = new ScreenLock();
    this.main = document.querySelector("main");
    this.recordingLink = document.querySelector(".recording-link");
    this.background = new Set();
  }

  async record(options, deviceId) {
    const recording = new Recording(this.store, "live", options);
    await recording.record(deviceId);
    this.#setRecording(recording);
  }

  /** Send a file; choice: which track and channel, as for `decode`. The first of several channels is shown. */
  async send(file, options, choice) {
    const sounds = await decode(file, choice);
    const title = options.title ?? titleOf(file.name);
    const recordings = [];
    for (const sound of sounds) {
      const recording = new Recording(this.store, "upload", {
        ...options,
        title: sounds.length > 1 ? `${title ?? "Recording"} (${sound.channel})`.slice(-MAX_TITLE) : title,
        source: "upload",
        metadata: sound.taken && { audio: sound.taken },
      });
      await recording.send(file, sound);
      recordings.push(recording);
    }
    const [shown, ...others] = recordings;
    for (const recording of others) this.background.add(recording);
    if (others.length) this.toast(`${others.length + 1} recordings are sent, one for each channel: see Recordings.`);
    this.#setRecording(shown);
  }

  reset() {
    this.#setRecording(null);
  }

  toast(text) {
    const toast = h("p", { class: "toast" }, text);
    const toasts = document.querySelector(".toasts");
    toasts.append(toast);
    setTimeout(() => toast.remove(), TOAST_TIME);
  }

  /** Go to another path of the page. */
  go(path) {
    history.pushState(null, "", path);
    this.show();
  }

  /** Set the title of the window. */
  setTitle(title) {
    document.title = `${title} · Stenobus`;
  }

  show() {
    this.view?.dispose();
    const path = currentPath();
    const job = path.match(/^jobs\/([^/]+)$/)?.[1];
    if (job) this.view = new JobView(this, decodeURIComponent(job));
    else if (path === "jobs") this.view = new JobsView();
    else this.view = new CaptureView(this);
    fill(this.main, this.view.element);
    this.setTitle(this.view.title);
    const page = job || path === "jobs" ? "jobs" : "capture";
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.page === page) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.#showRecordingLink();
    scrollTo({ top: 0 });
  }

  /** Continue recordings that an earlier page stored. */
  async restore() {
    let entries = [];
    try {
      entries = await this.store.recordings();
    } catch (error) {
      this.toast(`Earlier recordings cannot be continued: ${reasonOf(error)}.`);
    }
    for (const entry of entries.sort((a, b) => b.at - a.at)) {
      const recording = new Recording(this.store, entry.kind, entry.options);
      const age = Date.now() - entry.at;
      try {
        if (age > EXPIRED) {
          await this.store.remove(entry.job);
          continue;
        }
        if (!(await recording.restore(entry))) continue;
      } catch (error) {
        this.toast(`“${entry.name ?? "A recording"}” could not be continued: ${error.message}`);
        await recording.stored.remove();
        continue;
      }
      if (this.recording || age > RECENT) {
        this.background.add(recording);
        await recording.stop();
        continue;
      }
      this.#setRecording(recording);
      if (recording.phase === "paused" && age < RELOADED && (await allowed())) {
        await recording.resume().catch(() => {}); // there is also a button for it
      }
    }
  }

  leave() {
    for (const recording of [this.recording, ...this.background]) recording?.leave();
  }

  #setRecording(recording) {
    this.recording?.removeEventListener("change", this.onChange);
    this.recording = recording;
    this.onChange = () => {
      this.screenLock.set(recording?.phase === "recording");
      this.#showRecordingLink();
    };
    recording?.addEventListener("change", this.onChange);
    this.onChange();
    this.dispatchEvent(new Event("recording"));
  }

  /** Other views show a link back to the recording. */
  #showRecordingLink() {
    const { recording, recordingLink } = this;
    const elsewhere = !(this.view instanceof CaptureView);
    recordingLink.hidden = !(recording && !recording.ended && elsewhere);
    if (!recordingLink.hidden) {
      const name = recording.phase === "recording" ? "Recording" : "In progress";
      setText(recordingLink, `${name} ${clock(recording.length)}`);
    }
  }
}

/** The title of a file's recording: its name without the extension. */
function titleOf(name) {
  return name.replace(/\.[^.]+$/, "").slice(0, MAX_TITLE) || null;
}

// Relative links, which the page has where its prefix is not known, must not change their meaning with the address.
for (const link of document.querySelectorAll("header a, link[rel=icon]")) link.href = `${link.href}`;

const app = new App(await Store.open());
themeButton(document.querySelector(".theme"), () => app.dispatchEvent(new Event("theme")));

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.origin !== location.origin || link.hasAttribute("download") || link.hash) return;
  event.preventDefault();
  if (link.pathname === BASE && app.recording?.ended) app.reset();
  app.go(link.pathname + link.search);
});
addEventListener("popstate", () => app.show());

acceptDrops({
  ready: () => !app.recording || app.recording.ended,
  onError: (text) => app.toast(text),
  onFile: async (file) => {
    if (app.recording) app.reset();
    if (currentPath() !== "") app.go(BASE);
    await app.view.send(file);
  },
});

addEventListener("beforeunload", (event) => {
  const all = [app.recording, ...app.background].filter(Boolean);
  if (all.some(({ phase, endangered }) => phase === "recording" || endangered)) event.preventDefault();
});
addEventListener("pagehide", () => app.leave());
addEventListener("pageshow", (event) => event.persisted && location.reload());

app.show();
await app.restore();
