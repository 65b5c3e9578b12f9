/** What further processors found out about a recording, whatever that is. */

import { h } from "../dom.js";

/** found: an object, each member one insight: a text, a number, a list, or an object. Null where there is nothing. */
export function insights(found) {
  const members = Object.entries(found ?? {}).filter(([, value]) => !bare(value));
  if (!members.length) return null;
  return h(
    "section",
    { class: "card insights", "aria-label": "Insights" },
    h("h2", {}, "Insights"),
    members.map(([name, value]) => h("div", { class: "block" }, h("h3", {}, words(name)), shown(value))),
  );
}

function shown(value) {
  if (Array.isArray(value))
    return h(
      "ul",
      {},
      value.filter((item) => !bare(item)).map((item) => h("li", {}, line(item))),
    );
  if (typeof value === "object") {
    const members = Object.entries(value).filter(([, member]) => !bare(member));
    return h(
      "dl",
      {},
      members.flatMap(([name, member]) => [h("dt", {}, words(name)), h("dd", {}, line(member))]),
    );
  }
  return h("p", {}, line(value));
}

function line(value) {
  if (Array.isArray(value)) return value.map(line).join(", ");
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .filter(([, member]) => !bare(member))
      .map(([name, member]) => `${words(name)}: ${line(member)}`)
      .join(" · ");
  }
  return typeof value === "number" ? String(Math.round(value * 1_000) / 1_000) : String(value);
}

function bare(value) {
  return value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
}

/** A name of the wire as words: talk_time becomes Talk time. */
function words(name) {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
