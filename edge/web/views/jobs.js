/** The list of recordings: searched, filtered, page by page. */

import { listJobs } from "../api.js";
import { at } from "../base.js";
import { isLive, languageName, length, marked, moment, stateName } from "../core/format.js";
import { fill, h, icon } from "../dom.js";

const PAGE_SIZE = 20;

/** Milliseconds from the last key to the search. */
const TYPING_DELAY = 250;

const SOURCES = { upload: "File", replay: "Replay" };

const FILTERS = [
  ["", "All"],
  ["completed", "Finished"],
  ["streaming,transcribing,summarizing", "Live"],
  ["failed", "Failed"],
];

export class JobsView {
  constructor() {
    this.title = "Recordings";
    const params = new URLSearchParams(location.search);
    this.search = h("input", {
      id: "search",
      type: "search",
      placeholder: "Search titles and transcripts",
      value: params.get("q") ?? "",
    });
    this.status = params.get("status") ?? "";
    this.list = h("ul", { class: "jobs" });
    this.message = h("p", { class: "quiet", role: "status" });
    this.more = h("button", { type: "button", hidden: true, on: { click: () => this.#load() } }, "More");
    this.filters = h(
      "div",
      { class: "filters", role: "group", "aria-label": "State" },
      FILTERS.map(([value, name]) =>
        h("button", { type: "button", data: { value }, on: { click: () => this.#filter(value) } }, name),
      ),
    );
    this.element = h(
      "div",
      { class: "jobs-page" },
      h("h1", {}, "Recordings"),
      h(
        "div",
        { class: "search" },
        icon("search"),
        h("label", { for: "search", class: "visually-hidden" }, "Search"),
        this.search,
      ),
      this.filters,
      this.message,
      this.list,
      h("div", { class: "buttons" }, this.more),
    );
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.#restart(), TYPING_DELAY);
    });
    this.observer = new IntersectionObserver(([entry]) => entry.isIntersecting && !this.more.disabled && this.#load());
    this.observer.observe(this.more);
    this.#restart();
  }

  dispose() {
    clearTimeout(this.typing);
    this.observer.disconnect();
    this.loading?.abort();
  }

  #filter(value) {
    this.status = value;
    this.#restart();
  }

  #restart() {
    const query = this.search.value.trim();
    const params = new URLSearchParams(Object.entries({ q: query, status: this.status }).filter(([, value]) => value));
    history.replaceState(history.state, "", at(params.size ? `jobs?${params}` : "jobs"));
    for (const button of this.filters.children) {
      button.setAttribute("aria-pressed", String(button.dataset.value === this.status));
    }
    this.cursor = "";
    this.searched = 0;
    this.loading?.abort();
    void this.#load(true);
  }

  async #load(replace = false) {
    const query = this.search.value.trim();
    const loading = new AbortController();
    this.loading = loading;
    this.more.disabled = true;
    this.list.setAttribute("aria-busy", "true");
    try {
      const { status, cursor } = this;
      const page = await listJobs({ query, status, cursor, limit: PAGE_SIZE }, loading.signal);
      const items = page.jobs.map((job) => jobItem(job, query));
      if (replace) fill(this.list, items);
      else this.list.append(...items);
      this.cursor = page.next_cursor ?? "";
      this.searched += page.searched ?? 0;
      this.message.textContent = this.#resultText(query);
      this.message.classList.remove("failed");
      this.more.textContent = query && items.length === 0 ? "Search further back" : "More";
    } catch (error) {
      if (error.name === "AbortError") return;
      if (replace) fill(this.list);
      this.message.textContent = error.message;
      this.message.classList.add("failed");
    }
    this.list.setAttribute("aria-busy", "false");
    this.more.disabled = false;
    this.more.hidden = !this.cursor;
  }

  #resultText(query) {
    const found = this.list.children.length;
    if (!query) return found ? "" : this.status ? "There are none." : "There are no recordings yet.";
    const among = this.cursor ? ` among the newest ${this.searched}` : "";
    if (found === 0) return `Nothing was found${among}.`;
    return `${found}${this.cursor ? " so far" : ""} found${among}.`;
  }
}

/** A recording in the list. job: an entry of the server; query: words to mark. */
export function jobItem(job, query = "") {
  const facts = [
    moment(job.created_at),
    job.duration ? length(job.duration) : "",
    job.language ? languageName(job.language) : "",
    SOURCES[job.source] ?? "",
  ].filter(Boolean);
  return h(
    "li",
    { data: { job: job.job_id } },
    h(
      "a",
      { href: at(`jobs/${encodeURIComponent(job.job_id)}`) },
      h("span", { class: "title" }, highlighted(job.title || "Untitled recording", query), badge(job.state)),
      job.text ? h("span", { class: "snippet", lang: job.language }, highlighted(job.text, query)) : null,
      h("span", { class: "facts" }, facts.join(" · ")),
    ),
  );
}

/** The state of a job, unless it is completed. */
export function badge(state) {
  if (state === "completed") return null;
  const running = isLive(state) && state !== "created";
  return h("span", { class: running ? "badge live" : "badge" }, stateName(state));
}

function highlighted(text, query) {
  return h(
    "span",
    {},
    marked(text, query).map(({ text: part, hit }) => (hit ? h("mark", {}, part) : part)),
  );
}
