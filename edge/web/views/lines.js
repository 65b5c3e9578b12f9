/** The transcript on the page, line by line: final segments, and open ones. */

import { clock } from "../core/format.js";
import { timedWords } from "../core/transcript.js";
import { h, fill, setText } from "../dom.js";

/**
 * The final segments. onPlay: called with seconds when a line or a word is clicked; without it they cannot be clicked.
 * live: screen readers announce new lines.
 */
export class Lines {
  constructor({ onPlay = null, live = false } = {}) {
    this.onPlay = onPlay;
    this.items = new Map(); // "part/index" -> { line, element, words }
    this.list = h("ol", { class: "lines" });
    this.element = h(
      "div",
      live
        ? { class: "transcript", role: "log", "aria-live": "polite", "aria-label": "Transcript" }
        : { class: "transcript" },
      this.list,
    );
    this.current = null;
    this.word = null;
  }

  /** Show `lines` of a Transcript; unchanged ones keep their elements. Gives whether there is a new line. */
  update(lines) {
    const shown = lines.filter((line) => line.text.trim() || line.error);
    const keys = new Set(shown.map(keyOf));
    let added = false;
    for (const [key, { element }] of this.items) {
      if (keys.has(key)) continue;
      element.remove();
      this.items.delete(key);
    }
    shown.forEach((line, position) => {
      const key = keyOf(line);
      const known = this.items.get(key);
      if (known?.line === line) return;
      const item = this.#item(line);
      if (known) known.element.replaceWith(item.element);
      else this.list.insertBefore(item.element, this.list.children[position] ?? null);
      this.items.set(key, item);
      added = true;
    });
    return added;
  }

  /** Mark the line and the word that are played at `time`. Gives the element of the line if it has changed. */
  mark(line, time) {
    const item = line ? this.items.get(keyOf(line)) : null;
    const word = item?.words.findLast((each) => each.start <= time)?.element ?? null;
    if (word !== this.word) {
      this.word?.classList.remove("playing");
      word?.classList.add("playing");
      this.word = word;
    }
    if (item?.element === this.current) return null;
    this.current?.removeAttribute("aria-current");
    item?.element.setAttribute("aria-current", "true");
    this.current = item?.element ?? null;
    return this.current;
  }

  #item(line) {
    const words = [];
    const body = h("p", { lang: line.language });
    const timed = this.onPlay && line.text ? timedWords(line.text, line.words ?? []) : null;
    if (line.error) {
      body.append(h("span", { class: "failed" }, "This passage could not be transcribed."));
    } else if (timed) {
      for (const { gap, text, start } of timed) {
        const element = h("span", { data: { start } }, text);
        words.push({ element, start });
        body.append(gap, element);
      }
    } else {
      body.append(line.text);
    }
    const element = h(
      "li",
      { data: { index: line.index } },
      this.#time(line),
      h("div", { class: "speech" }, line.speaker ? h("span", { class: "speaker" }, String(line.speaker)) : null, body),
    );
    if (this.onPlay) {
      body.addEventListener("click", (event) => {
        if (String(getSelection())) return; // text is being selected
        this.onPlay(Number(event.target.dataset.start ?? line.start));
      });
    }
    return { line, element, words };
  }

  #time({ start }) {
    if (!this.onPlay) return h("span", { class: "time" }, clock(start));
    const label = `Play from ${clock(start)}`;
    return h(
      "button",
      { class: "time", type: "button", "aria-label": label, on: { click: () => this.onPlay(start) } },
      clock(start),
    );
  }
}

function keyOf({ part = 0, index }) {
  return `${part}/${index}`;
}

/** The open segments, which have no final text yet. */
export class OpenSegments {
  constructor() {
    this.element = h("div", { class: "open", "aria-live": "off" });
  }

  update(open) {
    const shown = open.filter((segment, index) => segment.text || index === open.length - 1);
    while (this.element.children.length > shown.length) this.element.lastChild.remove();
    shown.forEach((segment, index) => {
      const row = this.element.children[index] ?? this.element.appendChild(openRow());
      const [time, body] = row.children;
      setText(time, clock(segment.start));
      const [stable, rest] = body.children;
      setText(stable, segment.text.slice(0, segment.stable));
      setText(rest, segment.text.slice(segment.stable));
      row.classList.toggle("listening", !segment.text);
    });
  }
}

function openRow() {
  return h(
    "div",
    { class: "partial" },
    h("span", { class: "time" }),
    h(
      "p",
      {},
      h("span", { class: "stable" }),
      h("span", { class: "unstable" }),
      h("span", { class: "dots", "aria-hidden": "true" }, ...dots()),
    ),
  );
}

function dots() {
  return [h("i"), h("i"), h("i")];
}

/** A sentence in place of lines. */
export function empty(text) {
  return fill(h("p", { class: "empty" }), text);
}
