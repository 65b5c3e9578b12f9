/** One recording: its sound, its text, its summary, and what can be done with it. */

import { deleteJob, getJob, getPeaks, jobUrl } from "../api.js";
import { isLive, length, moment } from "../core/format.js";
import { languageName } from "../core/languages.js";
import { Transcript, lineAt } from "../core/transcript.js";
import { fill, h, icon } from "../dom.js";
import { confirm } from "./dialog.js";
import { insights } from "./insights.js";
import { badge } from "./item.js";
import { Lines, empty } from "./lines.js";
import { Player } from "./player.js";
import { summaryCard } from "./summary.js";
import { Watch } from "./watch.js";

const EXPORTS = [
  ["transcript.txt", "Text"],
  ["transcript.md", "Minutes (Markdown)"],
  ["transcript.srt", "Subtitles (SRT)"],
  ["transcript.vtt", "Subtitles (WebVTT)"],
  ["transcript.json", "Data (JSON)"],
  ["audio.wav", "Sound (WAV)"],
];

export class JobView {
  constructor(app, job) {
    this.app = app;
    this.job = job;
    this.title = "Recording";
    this.leaving = new AbortController();
    this.element = h("div", { class: "job", "aria-busy": "true" });
    this.onKey = (event) => this.#key(event);
    this.onTheme = () => this.player?.recolour();
    addEventListener("keydown", this.onKey);
    app.addEventListener("theme", this.onTheme);
    void this.#load();
  }

  dispose() {
    this.leaving.abort();
    this.watch?.close();
    this.player?.dispose();
    removeEventListener("keydown", this.onKey);
    this.app.removeEventListener("theme", this.onTheme);
  }

  async #load() {
    try {
      const record = await getJob(this.job, this.leaving.signal);
      this.#show(record);
      if (isLive(record.state)) this.#follow();
      else await this.#sound(record);
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(
        this.element,
        h("h1", {}, "Recording"),
        h("section", { class: "card error", role: "alert" }, h("p", {}, error.message)),
        h("p", {}, h("a", { href: "/jobs" }, "All recordings")),
      );
    }
    this.element.setAttribute("aria-busy", "false");
  }

  #show(record) {
    const title = record.title || "Untitled recording";
    this.app.name(title);
    this.record = record;
    this.transcript = new Transcript();
    record.segments.forEach((segment) => this.transcript.final(segment));
    this.lines = new Lines({ onPlay: isLive(record.state) ? null : (seconds) => this.#playFrom(seconds) });
    this.place = h("div", { class: "sound" });
    this.state = h("span", { class: "state" }, badge(record.state));
    fill(
      this.element,
      h("a", { class: "back", href: "/jobs" }, icon("back"), "Recordings"),
      h(
        "header",
        { class: "head" },
        h("div", {}, h("h1", {}, title), h("p", { class: "facts" }, facts(record), this.state)),
        h("div", { class: "buttons" }, this.#exports(), this.#deleteButton(title)),
      ),
      this.place,
      h(
        "div",
        { class: "columns" },
        h(
          "div",
          { class: "aside" },
          record.state === "completed" ? summaryCard(record.summary, title) : null,
          insights(record.extra?.insights),
        ),
        h(
          "section",
          { "aria-label": "Transcript" },
          h("h2", {}, "Transcript"),
          this.lines.element,
          (this.bare = empty("")),
        ),
      ),
    );
    this.#showLines();
  }

  #showLines() {
    this.lines.update(this.transcript.lines);
    const said = this.lines.items.size > 0;
    this.bare.textContent = said ? "" : isLive(this.record.state) ? "Nothing yet." : "Nothing was said.";
  }

  /** The job goes on: show what comes, and all of it anew when it is finished. */
  #follow() {
    this.watch = new Watch(this.job, {
      onSegment: (segment) => this.transcript.final(segment) && this.#showLines(),
      onState: (state) => fill(this.state, badge(state)),
      onEnd: () => {
        this.watch.close();
        void this.#load();
      },
    });
  }

  async #sound(record) {
    if (!record.duration) return;
    try {
      const peaks = await getPeaks(this.job, this.leaving.signal);
      this.player = new Player({
        job: this.job,
        peaks,
        duration: record.duration,
        onTime: (time) => this.#heard(time),
      });
      fill(this.place, this.player.element);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.place, h("p", { class: "quiet" }, error.message));
    }
  }

  #playFrom(seconds) {
    if (this.player) this.player.playFrom(seconds);
    else this.app.toast("There is no sound to play.");
  }

  #heard(time) {
    if (!this.player) return; // it is being made, and nothing was asked for yet
    const { lines } = this.transcript;
    const line = lines[lineAt(lines, time)];
    const current = line && (time < line.end || this.player?.playing) ? line : null;
    const element = this.lines.mark(current, time);
    if (element && this.player?.playing) reveal(element);
  }

  #key(event) {
    if (!this.player || event.altKey || event.ctrlKey || event.metaKey || busy(event.target)) return;
    const act = {
      " ": () => this.player.toggle(),
      ArrowLeft: () => this.player.step(-1),
      ArrowRight: () => this.player.step(1),
      ArrowUp: () => this.#line(-1),
      ArrowDown: () => this.#line(1),
    }[event.key];
    if (!act || (event.key === " " && event.target.closest("button, a, summary"))) return;
    event.preventDefault();
    act();
  }

  /** To the line before or after the one that is heard. */
  #line(step) {
    const { lines } = this.transcript;
    const next = lines[Math.max(0, lineAt(lines, this.player.time + 0.01) + step)];
    if (!next) return;
    this.player.seek(next.start);
    reveal(this.lines.current);
  }

  #exports() {
    const items = EXPORTS.map(([file, name]) =>
      h("li", {}, h("a", { href: jobUrl(this.job, file), download: "" }, name)),
    );
    const menu = h(
      "details",
      { class: "menu" },
      h("summary", { class: "button" }, icon("download"), "Export"),
      h("ul", {}, items),
    );
    menu.addEventListener("click", (event) => event.target.closest("a") && (menu.open = false));
    menu.addEventListener("focusout", (event) => menu.contains(event.relatedTarget) || (menu.open = false));
    menu.addEventListener("keydown", (event) => event.key === "Escape" && (menu.open = false));
    return menu;
  }

  #deleteButton(title) {
    return h("button", { type: "button", on: { click: () => this.#delete(title) } }, icon("trash"), "Delete");
  }

  async #delete(title) {
    const text = "Its sound, transcript and summary are erased from the server for good.";
    if (!(await confirm({ title: `Delete “${title}”?`, text, yes: "Delete" }))) return;
    try {
      await deleteJob(this.job);
      this.app.go("/jobs");
      this.app.toast(`“${title}” was deleted.`);
    } catch (error) {
      this.app.toast(error.message);
    }
  }
}

function facts({ created_at: created, duration, options, segments, source }) {
  const languages = [...new Set(segments.map(({ language }) => language).filter(Boolean))];
  const shown = languages.length ? languages : [options.language].filter(Boolean);
  const from = { upload: "File", replay: "Replay" }[source];
  return [moment(created), duration ? length(duration) : "", shown.map((code) => languageName(code)).join(", "), from]
    .filter(Boolean)
    .join(" · ");
}

/** Whether the keys belong to something else. */
function busy(target) {
  return Boolean(target.closest("input, select, textarea, dialog, [open] > ul"));
}

function reveal(element) {
  if (!element) return;
  const { top, bottom } = element.getBoundingClientRect();
  if (top > 200 && bottom < innerHeight - 40) return;
  const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "center", behavior: smooth ? "smooth" : "auto" });
}
