/** The page: what is shown, and the recording that goes on whatever is shown. */

import { Keep } from "./capture/keep.js";
import { allowed } from "./capture/microphone.js";
import { Recording } from "./capture/recording.js";
import { Wake } from "./capture/wake.js";
import { clock } from "./core/format.js";
import { fill, h, say } from "./dom.js";
import { CaptureView } from "./views/capture.js";
import { acceptDrops } from "./views/drop.js";
import { JobView } from "./views/job.js";
import { JobsView } from "./views/jobs.js";
import { themeButton } from "./views/theme.js";

/** Milliseconds after which a recording that was left is not shown again, only brought to its end. */
const RECENT = 10 * 60_000;

/** Milliseconds within which the microphone goes on by itself after the page was loaded again. */
const RELOADED = 30_000;

/** Milliseconds after which what was never delivered is forgotten. */
const FORGOTTEN = 7 * 24 * 3_600_000;

const TOAST = 5_000;

class App extends EventTarget {
  /** Events: "recording" when there is another one or none, "theme" when the colours are other ones. */
  constructor(keep) {
    super();
    this.keep = keep;
    this.recording = null;
    this.wake = new Wake();
    this.main = document.querySelector("main");
    this.onAir = document.querySelector(".on-air");
    this.background = new Set();
  }

  async record(options, deviceId) {
    const recording = new Recording(this.keep, "live", options);
    await recording.record(deviceId);
    this.#take(recording);
  }

  async send(file, options) {
    const recording = new Recording(this.keep, "upload", {
      ...options,
      title: options.title ?? bareName(file.name),
      source: "upload",
    });
    await recording.send(file);
    this.#take(recording);
  }

  reset() {
    this.#take(null);
  }

  toast(text) {
    const toast = h("p", { class: "toast" }, text);
    const toasts = document.querySelector(".toasts");
    toasts.append(toast);
    setTimeout(() => toast.remove(), TOAST);
  }

  /** Show the page of another path. */
  go(path) {
    history.pushState(null, "", path);
    this.show();
  }

  /** What the window is called. */
  name(title) {
    document.title = `${title} · Stenobus`;
  }

  show() {
    this.view?.dispose();
    const job = location.pathname.match(/^\/jobs\/([^/]+)$/)?.[1];
    if (job) this.view = new JobView(this, decodeURIComponent(job));
    else if (location.pathname === "/jobs") this.view = new JobsView();
    else this.view = new CaptureView(this);
    fill(this.main, this.view.element);
    this.name(this.view.title);
    const page = job ? "jobs" : location.pathname === "/jobs" ? "jobs" : "capture";
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.page === page) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.#tellOnAir();
    scrollTo({ top: 0 });
  }

  /** Go on with what an earlier page has left. */
  async restore() {
    const entries = (await this.keep.unfinished()).sort((a, b) => b.at - a.at);
    for (const entry of entries) {
      const recording = new Recording(this.keep, entry.kind, entry.options);
      const age = Date.now() - entry.at;
      if (age > FORGOTTEN) {
        await this.keep.end(entry.job);
        continue;
      }
      try {
        if (!(await recording.restore(entry))) continue;
      } catch (error) {
        this.toast(`“${entry.name ?? "A recording"}” could not go on: ${error.message}`);
        await recording.kept.end();
        continue;
      }
      if (this.recording || age > RECENT) {
        this.background.add(recording);
        await recording.stop();
        continue;
      }
      this.#take(recording);
      if (recording.phase === "paused" && age < RELOADED && (await allowed())) {
        await recording.resume().catch(() => {}); // then there is a button for it
      }
    }
  }

  leave() {
    for (const recording of [this.recording, ...this.background]) recording?.leave();
  }

  #take(recording) {
    this.recording?.removeEventListener("change", this.onChange);
    this.recording = recording;
    this.onChange = () => {
      this.wake.set(recording?.phase === "recording");
      this.#tellOnAir();
    };
    recording?.addEventListener("change", this.onChange);
    this.onChange();
    this.dispatchEvent(new Event("recording"));
  }

  /** Elsewhere on the page there is a way back to a recording that goes on. */
  #tellOnAir() {
    const { recording, onAir } = this;
    const away = !(this.view instanceof CaptureView);
    onAir.hidden = !(recording && !recording.over && away);
    if (!onAir.hidden)
      say(onAir, `${recording.phase === "recording" ? "Recording" : "In progress"} ${clock(recording.length)}`);
  }
}

function bareName(name) {
  return name.replace(/\.[^.]+$/, "").slice(0, 200) || null;
}

const app = new App(await Keep.open());
themeButton(document.querySelector(".theme"), () => app.dispatchEvent(new Event("theme")));

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.origin !== location.origin || link.hasAttribute("download") || link.hash) return;
  event.preventDefault();
  if (link.pathname === "/" && app.recording?.over) app.reset();
  app.go(link.pathname + link.search);
});
addEventListener("popstate", () => app.show());

acceptDrops({
  ready: () => !app.recording || app.recording.over,
  onTrouble: (text) => app.toast(text),
  onFile: async (file) => {
    if (app.recording) app.reset();
    if (location.pathname !== "/") app.go("/");
    await app.view.send(file);
  },
});

addEventListener("beforeunload", (event) => {
  if (app.recording?.phase === "recording") event.preventDefault();
});
addEventListener("pagehide", () => app.leave());
addEventListener("pageshow", (event) => event.persisted && location.reload());

app.show();
await app.restore();
