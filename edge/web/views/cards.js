/** Cards with what processors made of a recording: the summary and the insights. */

import { author, fieldName, fieldValue } from "../core/format.js";
import { h } from "../dom.js";

/** summary: of the server; null or without text if none was wanted. title: the heading of the page. */
export function summaryCard(summary, title) {
  if (!summary?.summary) {
    return h("section", { class: "card summary" }, h("p", { class: "quiet" }, "No summary was requested."));
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

/** found: an object; each field is an insight: a number, a text, a list or an object. Gives null if there is none. */
export function insightsCard(found) {
  const fields = visibleFields(found ?? {});
  if (!fields.length) return null;
  const plain = fields.filter(([, value]) => typeof value !== "object");
  const rest = fields.filter(([, value]) => typeof value === "object");
  return h(
    "section",
    { class: "card insights", "aria-label": "Insights" },
    h("h2", {}, "Insights"),
    plain.length ? pairs(plain) : null,
    rest.map(([name, value]) => h("div", { class: "block" }, h("h3", {}, fieldName(name)), nested(value))),
  );
}

function nested(value) {
  if (!Array.isArray(value)) return pairs(visibleFields(value));
  return h(
    "ul",
    {},
    value.map((item) => h("li", {}, line("", item))),
  );
}

function pairs(fields) {
  return h(
    "dl",
    {},
    fields.flatMap(([name, value]) => [h("dt", {}, fieldName(name)), h("dd", {}, line(name, value))]),
  );
}

function line(name, value) {
  if (Array.isArray(value)) return value.map((item) => line(name, item)).join(", ");
  if (typeof value !== "object" || value === null) return fieldValue(name, value);
  return visibleFields(value)
    .map(([field, inner]) => `${fieldName(field)}: ${line(field, inner)}`)
    .join(" · ");
}

/** The fields that are shown. */
function visibleFields(object) {
  return Object.entries(object).filter(([name, value]) => fieldValue(name, value) !== null);
}
