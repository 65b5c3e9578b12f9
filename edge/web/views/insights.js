/** What further processors found out about a recording, whatever that is. */

import { figure, words } from "../core/figures.js";
import { h } from "../dom.js";

/** found: an object, each member one insight: a figure, a text, a list, or an object. Null where there is nothing. */
export function insights(found) {
  const members = shownOf(found ?? {});
  if (!members.length) return null;
  const plain = members.filter(([, value]) => typeof value !== "object");
  const rest = members.filter(([, value]) => typeof value === "object");
  return h(
    "section",
    { class: "card insights", "aria-label": "Insights" },
    h("h2", {}, "Insights"),
    plain.length ? pairs(plain) : null,
    rest.map(([name, value]) => h("div", { class: "block" }, h("h3", {}, words(name)), nested(value))),
  );
}

function nested(value) {
  if (!Array.isArray(value)) return pairs(shownOf(value));
  return h(
    "ul",
    {},
    value.map((item) => h("li", {}, line("", item))),
  );
}

function pairs(members) {
  return h(
    "dl",
    {},
    members.flatMap(([name, value]) => [h("dt", {}, words(name)), h("dd", {}, line(name, value))]),
  );
}

function line(name, value) {
  if (Array.isArray(value)) return value.map((item) => line(name, item)).join(", ");
  if (typeof value !== "object" || value === null) return figure(name, value);
  return shownOf(value)
    .map(([member, inner]) => `${words(member)}: ${line(member, inner)}`)
    .join(" · ");
}

/** Members that are worth a word. */
function shownOf(object) {
  return Object.entries(object).filter(([name, value]) => figure(name, value) !== null);
}
