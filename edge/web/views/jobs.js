/** All recordings: search, filter, page by page. */

import { listJobs } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { jobItem } from "./item.js";

const PAGE = 20;

/** Milliseconds after the last key before the search begins. */
const TYPING = 250;

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
    this.told = h("p", { class: "quiet", role: "status" });
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
        h("label", { for: "search", class: "unseen" }, "Search"),
        this.search,
      ),
      this.filters,
      this.told,
      this.list,
      h("div", { class: "buttons" }, this.more),
    );
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.#begin(), TYPING);
    });
    this.watch = new IntersectionObserver(([entry]) => entry.isIntersecting && !this.more.disabled && this.#load());
    this.watch.observe(this.more);
    this.#begin();
  }

  dispose() {
    clearTimeout(this.typing);
    this.watch.disconnect();
    this.asking?.abort();
  }

  #filter(value) {
    this.status = value;
    this.#begin();
  }

  #begin() {
    const query = this.search.value.trim();
    const params = new URLSearchParams(Object.entries({ q: query, status: this.status }).filter(([, value]) => value));
    history.replaceState(history.state, "", params.size ? `/jobs?${params}` : "/jobs");
    for (const button of this.filters.children) {
      button.setAttribute("aria-pressed", String(button.dataset.value === this.status));
    }
    this.cursor = "";
    this.searched = 0;
    this.asking?.abort();
    void this.#load(true);
  }

  async #load(anew = false) {
    const query = this.search.value.trim();
    const asking = new AbortController();
    this.asking = asking;
    this.more.disabled = true;
    this.list.setAttribute("aria-busy", "true");
    try {
      const page = await listJobs({ query, status: this.status, cursor: this.cursor, limit: PAGE }, asking.signal);
      const items = page.jobs.map((job) => jobItem(job, query));
      if (anew) fill(this.list, items);
      else this.list.append(...items);
      this.cursor = page.next_cursor ?? "";
      this.searched += page.searched ?? 0;
      this.told.textContent = this.#words(query);
      this.told.classList.remove("failed");
      this.more.textContent = query && items.length === 0 ? "Search further back" : "More";
    } catch (error) {
      if (error.name === "AbortError") return;
      if (anew) fill(this.list);
      this.told.textContent = error.message;
      this.told.classList.add("failed");
    }
    this.list.setAttribute("aria-busy", "false");
    this.more.disabled = false;
    this.more.hidden = !this.cursor;
  }

  #words(query) {
    const found = this.list.children.length;
    if (!query) return found ? "" : this.status ? "There are none." : "There are no recordings yet.";
    const among = this.cursor ? ` among the newest ${this.searched}` : "";
    if (found === 0) return `Nothing was found${among}.`;
    return `${found}${this.cursor ? " so far" : ""} found${among}.`;
  }
}
