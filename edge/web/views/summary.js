/** The summary of a recording. */

import { h } from "../dom.js";
import { author } from "../core/format.js";

/** summary: as the server tells it; null, or without words, where none was asked for. title: of the page. */
export function summaryCard(summary, title) {
  if (!summary?.summary) {
    return h("section", { class: "card summary" }, h("p", { class: "quiet" }, "No summary was asked for."));
  }
  return h(
    "section",
    { class: "card summary", "aria-label": "Summary" },
    h("h2", {}, summary.title && summary.title !== title ? summary.title : "Summary"),
    h("p", { class: "lead" }, summary.summary),
    list("Key points", summary.key_points),
    list("Decisions", summary.decisions),
    actions(summary.action_items ?? []),
    summary.engine === "none" ? null : h("p", { class: "quiet author" }, author(summary)),
  );
}

function list(title, items = []) {
  if (!items.length) return null;
  return h(
    "div",
    { class: "block" },
    h("h3", {}, title),
    h(
      "ul",
      {},
      items.map((item) => h("li", {}, item)),
    ),
  );
}

function actions(items) {
  if (!items.length) return null;
  return h(
    "div",
    { class: "block" },
    h("h3", {}, "Action items"),
    h(
      "ul",
      { class: "actions" },
      items.map(({ who, what, due }) =>
        h(
          "li",
          {},
          h("span", {}, what),
          who || due
            ? h(
                "span",
                { class: "tags" },
                who ? h("span", { class: "tag" }, who) : null,
                due ? h("span", { class: "tag" }, due) : null,
              )
            : null,
        ),
      ),
    ),
  );
}
