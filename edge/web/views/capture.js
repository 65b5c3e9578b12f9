/** The start page: what comes before a recording, or the recording. */

import { fill, h } from "../dom.js";
import { Live } from "./live.js";
import { Start } from "./start.js";

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
