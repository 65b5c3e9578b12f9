/** One recording: its sound, transcript and summary, with export and delete. */

import { deleteJob, getJob, getPeaks, jobUrl } from "../api.js";
import { at } from "../base.js";
import { isLive, languageName, length, moment, takenFrom } from "../core/format.js";
import { Transcript, lineAt } from "../core/transcript.js";
import { fill, h, icon } from "../dom.js";
import { insightsCard, summaryCard } from "./cards.js";
import { badge } from "./jobs.js";
import { Lines, empty } from "./lines.js";
import { confirm } from "./page.js";
import { Player } from "./player.js";

/** Milliseconds from one look at the record to the next, where the event feed is refused. */
const POLL_INTERVAL = 2_000;

/** The state that an event of the feed announces. */
const EVENT_STATES = { opened: "streaming", closed: "transcribing" };

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
    this.feed?.close();
    this.player?.dispose();
    removeEventListener("keydown", this.onKey);
    this.app.removeEventListener("theme", this.onTheme);
  }

  async #load() {
    try {
      const record = await getJob(this.job, this.leaving.signal);
      this.#show(record);
      if (isLive(record.state)) this.#follow();
      else await this.#showPlayer(record);
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(
        this.element,
        h("h1", {}, "Recording"),
        h("section", { class: "card error", role: "alert" }, h("p", {}, error.message)),
        h("p", {}, h("a", { href: at("jobs") }, "All recordings")),
      );
    }
    this.element.setAttribute("aria-busy", "false");
  }

  #show(record) {
    const title = record.title || "Untitled recording";
    this.app.setTitle(title);
    this.record = record;
    this.transcript = new Transcript();
    record.segments.forEach((segment) => this.transcript.final(segment));
    this.lines = new Lines({ onPlay: isLive(record.state) ? null : (seconds) => this.#playFrom(seconds) });
    this.playerPlace = h("div", { class: "sound" });
    this.state = h("span", { class: "state" }, badge(record.state));
    fill(
      this.element,
      h("a", { class: "back", href: at("jobs") }, icon("back"), "Recordings"),
      h(
        "header",
        { class: "head" },
        h("div", {}, h("h1", {}, title), h("p", { class: "facts" }, facts(record), this.state)),
        h("div", { class: "buttons" }, this.#exports(), this.#deleteButton(title)),
      ),
      this.playerPlace,
      h(
        "div",
        { class: "columns" },
        h(
          "div",
          { class: "aside" },
          record.state === "completed" ? summaryCard(record.summary, title) : null,
          insightsCard(record.extra?.insights),
        ),
        h(
          "section",
          { "aria-label": "Transcript" },
          h("h2", {}, "Transcript"),
          this.lines.element,
          (this.emptyText = empty("")),
        ),
      ),
    );
    this.#showLines();
  }

  #showLines() {
    this.lines.update(this.transcript.lines);
    const hasText = this.lines.items.size > 0;
    this.emptyText.textContent = hasText ? "" : isLive(this.record.state) ? "Nothing yet." : "Nothing was said.";
  }

  /** Follow a live job, and load it again when it is finished. */
  #follow() {
    this.feed = new JobFeed(this.job, {
      onSegment: (segment) => this.transcript.final(segment) && this.#showLines(),
      onState: (state) => fill(this.state, badge(state)),
      onEnd: () => {
        this.feed.close();
        void this.#load();
      },
    });
  }

  async #showPlayer(record) {
    if (!record.duration) return;
    try {
      const peaks = await getPeaks(this.job, this.leaving.signal);
      this.player = new Player({
        job: this.job,
        peaks,
        duration: record.duration,
        onTime: (time) => this.#markPlayed(time),
      });
      fill(this.playerPlace, this.player.element);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.playerPlace, h("p", { class: "quiet" }, error.message));
    }
  }

  #playFrom(seconds) {
    if (this.player) this.player.playFrom(seconds);
    else this.app.toast("There is no sound to play.");
  }

  #markPlayed(time) {
    if (!this.player) return; // called by its constructor
    const { lines } = this.transcript;
    const line = lines[lineAt(lines, time)];
    const current = line && (time < line.end || this.player?.playing) ? line : null;
    const element = this.lines.mark(current, time);
    if (element && this.player?.playing) reveal(element);
  }

  #key(event) {
    if (!this.player || event.altKey || event.ctrlKey || event.metaKey || usesKeys(event.target)) return;
    const action = {
      " ": () => this.player.toggle(),
      ArrowLeft: () => this.player.step(-1),
      ArrowRight: () => this.player.step(1),
      ArrowUp: () => this.#line(-1),
      ArrowDown: () => this.#line(1),
    }[event.key];
    if (!action || (event.key === " " && event.target.closest("button, a, summary"))) return;
    event.preventDefault();
    action();
  }

  /** Go to the line before or after the one that is played. */
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
      this.app.go(at("jobs"));
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
  const spoken = shown.map((code) => languageName(code)).join(", ");
  return [moment(created), duration ? length(duration) : "", spoken, from, takenFrom(options.metadata?.audio)]
    .filter(Boolean)
    .join(" · ");
}

/** Whether an element uses these keys itself. */
function usesKeys(target) {
  return Boolean(target.closest("input, select, textarea, dialog, [open] > ul"));
}

function reveal(element) {
  if (!element) return;
  const { top, bottom } = element.getBoundingClientRect();
  if (top > 200 && bottom < innerHeight - 40) return;
  const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "center", behavior: smooth ? "smooth" : "auto" });
}

/** A live job by its server-sent events. */
class JobFeed {
  /** onSegment: called with each final; onState: with each state; onEnd: when the job will not change any more. */
  constructor(job, { onSegment, onState, onEnd }) {
    this.job = job;
    this.on = { onSegment, onState, onEnd };
    const events = new EventSource(jobUrl(job, "events"));
    this.events = events;
    events.addEventListener("transcript", ({ data }) => {
      const segment = JSON.parse(data);
      if ((segment.generation ?? 1) === 1) onSegment(segment); // others belong to replays
    });
    for (const [kind, state] of Object.entries(EVENT_STATES)) events.addEventListener(kind, () => onState(state));
    events.addEventListener("completed", onEnd);
    // The browser reconnects by itself after a broken connection, but not after a refusal.
    events.addEventListener("error", () => events.readyState === EventSource.CLOSED && this.#poll());
  }

  close() {
    this.events.close();
    clearTimeout(this.timer);
    this.closed = true;
  }

  async #poll() {
    try {
      const record = await getJob(this.job);
      if (this.closed) return;
      record.segments.forEach(this.on.onSegment);
      this.on.onState(record.state);
      if (!isLive(record.state)) return this.on.onEnd();
    } catch {
      // try again
    }
    if (!this.closed) this.timer = setTimeout(() => this.#poll(), POLL_INTERVAL);
  }
}
