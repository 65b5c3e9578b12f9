/** The start page: the start of a recording, or the recording. */

import { listJobs } from "../api.js";
import { unavailable } from "../capture/microphone.js";
import { fill, h, icon } from "../dom.js";
import { jobItem } from "./jobs.js";
import { Live } from "./live.js";
import { Options } from "./options.js";

const RECENT_JOBS = 5;

export class CaptureView {
  constructor(app) {
    this.app = app;
    this.title = "Record";
    this.element = h("div", { class: "capture" });
    this.show = () => this.#show();
    app.addEventListener("recording", this.show);
    this.#show();
  }

  dispose() {
    this.app.removeEventListener("recording", this.show);
    this.part.dispose();
  }

  /** Send a file that was dropped. */
  async send(file) {
    await this.part.send?.(file);
  }

  #show() {
    this.part?.dispose();
    this.part = this.app.recording ? new Live(this.app, this.app.recording) : new Start(this.app);
    fill(this.element, this.part.element);
  }
}

/** The start page before a recording: record, or send a file. */
class Start {
  constructor(app) {
    this.app = app;
    this.leaving = new AbortController();
    this.microphoneError = unavailable();
    this.options = new Options();
    this.error = h("div", { class: "card error", role: "alert", hidden: true });
    this.button = h(
      "button",
      { type: "button", class: "record", disabled: Boolean(this.microphoneError), on: { click: () => this.#record() } },
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
        this.microphoneError
          ? h("div", { class: "card error", role: "alert" }, h("p", {}, this.microphoneError.message))
          : null,
        this.error,
      ),
      this.options.element,
      this.recent,
    );
    void this.#listRecent();
  }

  dispose() {
    this.leaving.abort();
    this.options.dispose();
  }

  /** Send a file that was chosen or dropped. */
  async send(file) {
    await this.#attempt(
      () => this.app.send(file, this.options.value, this.options.choice),
      () => this.send(file),
    );
  }

  async #record() {
    await this.#attempt(
      () => this.app.record(this.options.value, this.options.deviceId),
      () => this.#record(),
    );
    void this.options.refresh(); // the browser names them once the page may use them
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
    this.button.disabled = busy || Boolean(this.microphoneError);
    this.element.setAttribute("aria-busy", String(busy));
  }

  #fail(error, again) {
    const retry = error.retryable ? h("button", { type: "button", on: { click: again } }, "Try again") : null;
    const wait = error.retryAfter ? ` The server asks to wait ${error.retryAfter} s.` : "";
    if (retry && error.retryAfter) {
      retry.disabled = true;
      setTimeout(() => (retry.disabled = false), error.retryAfter * 1_000);
    }
    fill(this.error, h("p", {}, error.message + wait), retry);
    this.error.hidden = false;
  }

  async #listRecent() {
    try {
      const { jobs } = await listJobs({ limit: RECENT_JOBS }, this.leaving.signal);
      fill(
        this.recent.lastChild,
        jobs.map((job) => jobItem(job)),
      );
      this.recent.hidden = jobs.length === 0;
    } catch {
      // The page with the list shows the error.
    }
  }
}
