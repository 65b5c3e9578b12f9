/** A recording in a list. */

import { h } from "../dom.js";
import { isLive, length, marked, moment, stateName } from "../core/format.js";
import { languageName } from "../core/languages.js";

const SOURCES = { upload: "File", replay: "Replay" };

/** job: as the server lists it; query: words to be marked. */
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
      { href: `/jobs/${encodeURIComponent(job.job_id)}` },
      h("span", { class: "title" }, highlighted(job.title || "Untitled recording", query), badge(job.state)),
      job.text ? h("span", { class: "snippet", lang: job.language }, highlighted(job.text, query)) : null,
      h("span", { class: "facts" }, facts.join(" · ")),
    ),
  );
}

/** A job's state, where it is worth a word. */
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
