/** What was said, line by line: { element, update, mark }. */

import { h, fill, say } from "../dom.js";
import { clock } from "../core/format.js";
import { pieces } from "../core/words.js";

/**
 * The finals of a transcript. onPlay: called with seconds when a line or a word is chosen; without it nothing is to be
 * chosen. live: the lines are read out as they come.
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

  /** lines: as Transcript has them; elements of lines that are the same stay. Gives whether there is a new one. */
  update(lines) {
    const shown = lines.filter((line) => line.text.trim() || line.error);
    let added = false;
    shown.forEach((line, position) => {
      const key = `${line.part ?? 0}/${line.index}`;
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

  /** Show what is heard at `time`: a line by its key, and its word. Gives the line's element if it is another one. */
  mark(line, time) {
    const item = line ? this.items.get(`${line.part ?? 0}/${line.index}`) : null;
    const word = item?.words.findLast((piece) => piece.start <= time)?.element ?? null;
    if (word !== this.word) {
      this.word?.classList.remove("heard");
      word?.classList.add("heard");
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
    const cut = this.onPlay && line.text ? pieces(line.text, line.words ?? []) : null;
    if (line.error) {
      body.append(h("span", { class: "failed" }, "This passage could not be transcribed."));
    } else if (cut) {
      for (const { gap, text, start } of cut) {
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
      h("div", { class: "said" }, line.speaker ? h("span", { class: "speaker" }, String(line.speaker)) : null, body),
    );
    if (this.onPlay) {
      body.addEventListener("click", (event) => {
        if (String(getSelection())) return; // the text is being copied
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

/** What is being said: segments that have no final yet. */
export class Open {
  constructor() {
    this.element = h("div", { class: "open", "aria-live": "off" });
  }

  update(open) {
    const shown = open.filter((segment, index) => segment.text || index === open.length - 1);
    while (this.element.children.length > shown.length) this.element.lastChild.remove();
    shown.forEach((segment, index) => {
      const row = this.element.children[index] ?? this.element.appendChild(opened());
      const [time, body] = row.children;
      say(time, clock(segment.start));
      const [stable, rest] = body.children;
      say(stable, segment.text.slice(0, segment.stable));
      say(rest, segment.text.slice(segment.stable));
      row.classList.toggle("listening", !segment.text);
    });
  }
}

function opened() {
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

/** A sentence where lines would be. */
export function empty(text) {
  return fill(h("p", { class: "empty" }), text);
}
