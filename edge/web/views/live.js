/** The start page during a recording, and after it. */

import { at } from "../base.js";
import { tenths } from "../core/format.js";
import { RATE, wav } from "../core/pcm.js";
import { fill, h, icon } from "../dom.js";
import { summaryCard } from "./cards.js";
import { Lines, OpenSegments } from "./lines.js";
import { RecordingPanel } from "./panel.js";

/** Pixels from the end of the page within which it scrolls with new lines. */
const NEAR_END = 200;

export class Live {
  constructor(app, recording) {
    this.app = app;
    this.recording = recording;
    this.panel = new RecordingPanel(recording, {
      pause: () => recording.pause(),
      resume: () => this.#resume(),
      stop: () => recording.stop(),
      reset: () => app.reset(),
    });
    this.lines = new Lines({ live: true });
    this.open = new OpenSegments();
    this.result = h("div", { class: "result", "aria-live": "polite" });
    this.hint = h("p", { class: "empty" });
    this.newest = h("button", { type: "button", class: "newest", hidden: true, on: { click: toEnd } }, "Newest");
    const { options, name } = recording.entry;
    this.heading = h("h1", { class: "named" }, options.title ?? name ?? "Untitled recording");
    this.element = h(
      "div",
      { class: "live" },
      this.heading,
      recording.told.map((sentence) => h("p", { class: "quiet told", role: "status" }, sentence)),
      this.panel.element,
      this.result,
      this.lines.element,
      this.open.element,
      this.hint,
      this.newest,
    );
    this.onChange = () => {
      this.request ??= requestAnimationFrame(() => this.#update());
    };
    this.onScroll = () => {
      if (nearEnd()) this.newest.hidden = true;
    };
    recording.addEventListener("change", this.onChange);
    addEventListener("scroll", this.onScroll, { passive: true });
    this.#update();
  }

  dispose() {
    this.panel.dispose();
    this.recording.removeEventListener("change", this.onChange);
    removeEventListener("scroll", this.onScroll);
    cancelAnimationFrame(this.request);
  }

  async #resume() {
    try {
      await this.recording.resume();
    } catch (error) {
      this.app.toast(error.message);
    }
  }

  #update() {
    this.request = null;
    const { transcript, ended } = this.recording;
    const follows = nearEnd();
    const before = document.documentElement.scrollHeight;
    this.panel.update();
    const added = this.lines.update(transcript.lines);
    this.open.update(transcript.open);
    const isEmpty = this.lines.items.size === 0 && transcript.open.length === 0;
    this.hint.textContent = !isEmpty ? "" : ended ? "Nothing was said." : "The text appears here.";
    if (ended) this.#end();
    else if (follows) document.documentElement.scrollHeight > before && toEnd();
    else if (added) this.newest.hidden = false;
  }

  #end() {
    if (this.endShown) return;
    this.endShown = true;
    this.newest.hidden = true;
    const { phase, summary, entry } = this.recording;
    if (!entry.options.title && summary?.title) this.heading.textContent = summary.title;
    fill(
      this.result,
      phase === "done" ? summaryCard(summary, this.heading.textContent) : this.#unfinished(),
      entry.parts.length ? this.#parts(entry.parts) : null,
    );
    scrollTo({ top: 0 });
  }

  #parts(parts) {
    const links = parts.flatMap((job, index) => [" ", h("a", { href: at(`jobs/${job}`) }, `Part ${index + 1}`)]);
    return h("p", { class: "quiet" }, "Without a connection the server closed the earlier parts: ", links, ".");
  }

  #unfinished() {
    const { phase, notice, unsaved } = this.recording;
    const text = phase === "elsewhere" ? "This recording continues in another window." : notice;
    const hasUnsaved = phase === "failed" && unsaved.length > 0;
    return h(
      "section",
      { class: "card error", role: "alert" },
      h("p", {}, text || "The recording ended early."),
      hasUnsaved ? this.#unsaved(unsaved) : null,
    );
  }

  /** Sound that is not on the server: it is sent again after a reload, unless it is discarded. */
  #unsaved(pcm) {
    const url = URL.createObjectURL(new Blob([wav(pcm, RATE)], { type: "audio/wav" }));
    const discard = async () => {
      await this.recording.stored.remove();
      this.app.reset();
    };
    const place = this.recording.endangered
      ? "It is only in this page: save it before you leave."
      : "It is stored in this browser.";
    return [
      h("p", {}, `${tenths(pcm.length / RATE)} of sound did not reach the server. ${place}`),
      h(
        "div",
        { class: "buttons" },
        h("a", { class: "button", href: url, download: "unsaved.wav" }, icon("download"), "Save as a file"),
        h("button", { type: "button", on: { click: discard } }, icon("trash"), "Discard"),
      ),
    ];
  }
}

function nearEnd() {
  const page = document.documentElement;
  return page.scrollHeight - scrollY - innerHeight < NEAR_END;
}

function toEnd() {
  scrollTo({ top: document.documentElement.scrollHeight });
}
