/** The start page before a recording: record, or send a file. */

import { listJobs } from "../api.js";
import { obstacle } from "../capture/microphone.js";
import { fill, h, icon } from "../dom.js";
import { jobItem } from "./item.js";
import { Options } from "./options.js";

const RECENT = 5;

export class Start {
  /** app: as in main.js; failure: an error of an earlier attempt to be told, or null. */
  constructor(app) {
    this.app = app;
    this.leaving = new AbortController();
    this.missing = obstacle();
    this.options = new Options();
    this.error = h("div", { class: "card error", role: "alert", hidden: true });
    this.button = h(
      "button",
      { type: "button", class: "record", disabled: Boolean(this.missing), on: { click: () => this.#record() } },
      icon("mic"),
      "Start recording",
    );
    this.file = h("input", {
      id: "file",
      type: "file",
      accept: "audio/*,video/*",
      class: "hidden-input",
      on: { change: () => this.#choose() },
    });
    this.recent = h("section", { class: "recent", hidden: true }, h("h2", {}, "Recent"), h("ul", { class: "jobs" }));
    this.element = h(
      "div",
      {},
      h(
        "section",
        { class: "start" },
        h("h1", {}, "Every word, as it is said"),
        h("p", { class: "lead" }, "Speak and read along. When you finish, a summary follows."),
        h(
          "div",
          { class: "buttons" },
          this.button,
          this.file,
          h("label", { class: "button", for: "file" }, icon("file"), "Choose a file"),
        ),
        h("p", { class: "quiet with-mouse" }, "Or drop an audio or video file anywhere on this page."),
        this.missing ? h("div", { class: "card error", role: "alert" }, h("p", {}, this.missing.message)) : null,
        this.error,
      ),
      this.options.element,
      this.recent,
    );
    void this.#listRecent();
  }

  dispose() {
    this.leaving.abort();
  }

  /** Send a file that was chosen or dropped. */
  async send(file) {
    await this.#attempt(
      () => this.app.send(file, this.options.value),
      () => this.send(file),
    );
  }

  async #record() {
    await this.#attempt(
      () => this.app.record(this.options.value, this.options.deviceId),
      () => this.#record(),
    );
    void this.options.refresh(); // the browser names the microphones once it may use them
  }

  async #attempt(begin, again) {
    this.#busy(true);
    this.error.hidden = true;
    try {
      await begin();
    } catch (error) {
      this.#fail(error, again);
    }
    this.#busy(false);
  }

  #choose() {
    const [file] = this.file.files;
    this.file.value = "";
    if (file) void this.send(file);
  }

  #busy(busy) {
    this.button.disabled = busy || Boolean(this.missing);
    this.element.setAttribute("aria-busy", String(busy));
  }

  #fail(error, again) {
    const retry = error.passing ? h("button", { type: "button", on: { click: again } }, "Try again") : null;
    const wait = error.retryAfter ? ` It asks for ${error.retryAfter} s before the next attempt.` : "";
    if (retry && error.retryAfter) {
      retry.disabled = true;
      setTimeout(() => (retry.disabled = false), error.retryAfter * 1_000);
    }
    fill(this.error, h("p", {}, error.message + wait), retry);
    this.error.hidden = false;
  }

  async #listRecent() {
    try {
      const { jobs } = await listJobs({ limit: RECENT }, this.leaving.signal);
      fill(
        this.recent.lastChild,
        jobs.map((job) => jobItem(job)),
      );
      this.recent.hidden = jobs.length === 0;
    } catch {
      // The list has a page of its own, which tells its troubles.
    }
  }
}
