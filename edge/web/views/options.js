/** The options of a new recording. */

import { storageName } from "../base.js";
import { h, fill } from "../dom.js";
import { microphones } from "../capture/microphone.js";
import { languageChoices } from "../core/format.js";

const STORED = storageName("options");

const CHANNELS = [
  ["mix", "Mix of all"],
  ["left", "Left"],
  ["right", "Right"],
  ["each", "Each, as recordings of their own"],
];

export class Options {
  constructor() {
    const stored = read();
    this.title = h("input", {
      id: "title",
      type: "text",
      maxLength: 200,
      autocomplete: "off",
      placeholder: "Weekly planning",
    });
    this.language = h(
      "select",
      { id: "language" },
      h("option", { value: "" }, "Detect"),
      languageChoices().map(([code, name]) => h("option", { value: code }, name)),
    );
    this.microphone = h("select", { id: "microphone" }, h("option", { value: "" }, "Default"));
    this.microphoneField = h(
      "div",
      { class: "field", hidden: true },
      h("label", { for: "microphone" }, "Microphone"),
      this.microphone,
    );
    this.channel = h(
      "select",
      { id: "channel" },
      CHANNELS.map(([value, name]) => h("option", { value }, name)),
    );
    this.track = h("input", { id: "track", type: "number", min: 1, step: 1, placeholder: "The best" });
    this.summary = h("input", { id: "summary", type: "checkbox", role: "switch", checked: stored.summary ?? true });
    this.language.value = stored.language ?? "";
    this.element = h(
      "form",
      { class: "options", "aria-label": "Options", on: { submit: (event) => event.preventDefault() } },
      h("div", { class: "field wide" }, h("label", { for: "title" }, "Title"), this.title),
      h("div", { class: "field" }, h("label", { for: "language" }, "Language"), this.language),
      this.microphoneField,
      h("div", { class: "field" }, h("label", { for: "channel" }, "Channel of a file"), this.channel),
      h("div", { class: "field" }, h("label", { for: "track" }, "Track of a file"), this.track),
      h("div", { class: "field switch" }, this.summary, h("label", { for: "summary" }, "Write a summary")),
    );
    this.element.addEventListener("change", () => this.#write());
    this.onDevices = () => void this.refresh();
    navigator.mediaDevices?.addEventListener("devicechange", this.onDevices);
    void this.refresh();
  }

  dispose() {
    navigator.mediaDevices?.removeEventListener("devicechange", this.onDevices);
  }

  /** The options for `createJob`. */
  get value() {
    return {
      title: this.title.value.trim() || null,
      language: this.language.value || null,
      summary: this.summary.checked ? null : false,
    };
  }

  /** Which track and channel of a file, for `decode`. */
  get choice() {
    return { track: this.track.valueAsNumber || null, channel: this.channel.value };
  }

  get deviceId() {
    return this.microphone.value;
  }

  /** List the current microphones; the choice is hidden unless there are two. */
  async refresh() {
    const current = (this.refreshes = (this.refreshes ?? 0) + 1);
    const found = await microphones();
    if (current !== this.refreshes) return; // a later one has begun, which may have ended before this one
    const chosen = this.microphone.value || read().deviceId;
    fill(
      this.microphone,
      h("option", { value: "" }, "Default"),
      found.filter(({ id }) => id !== "default").map(({ id, label }) => h("option", { value: id }, label)),
    );
    this.microphone.value = found.some(({ id }) => id === chosen) ? chosen : "";
    this.microphoneField.hidden = this.microphone.options.length < 3;
  }

  #write() {
    const { language, summary, microphone } = this;
    const stored = { language: language.value, summary: summary.checked, deviceId: microphone.value };
    try {
      localStorage.setItem(STORED, JSON.stringify(stored));
    } catch {
      // the choice is then not remembered
    }
  }
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
}
