/** A recording that goes on: what it does, how far it is, and the buttons for it. */

import { fill, h, icon, say } from "../dom.js";
import { clock, tenths } from "../core/format.js";
import { Meter } from "./meter.js";

const PHASES = {
  starting: "Starting",
  recording: "Recording",
  paused: "Paused",
  sending: "Sending",
  finishing: "Finishing",
  done: "Finished",
  elsewhere: "In another window",
  failed: "Ended early",
};

/** Seconds that are not saved yet which are worth a word: an ack comes twice a second. */
const UNSAVED = 2.5;

export class Console {
  /** act: { pause, resume, stop, reset }, each called without arguments. */
  constructor(recording, act) {
    this.recording = recording;
    this.meter = new Meter();
    this.phase = h("span", { class: "phase" });
    this.time = h("span", { class: "elapsed", role: "timer", "aria-label": "Recorded" });
    this.saved = h("span", { class: "fact saved" });
    this.behind = h("span", { class: "fact" });
    this.trouble = h("span", { role: "alert" });
    // A screen reader is told of the trouble, but not of each second that passes.
    this.countdown = h("span", { "aria-hidden": "true" });
    this.troubles = h("p", { class: "trouble", hidden: true }, this.trouble, this.countdown);
    this.progress = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Sent" });
    this.buttons = h("div", { class: "buttons" });
    this.pause = h("button", { type: "button", on: { click: act.pause } }, icon("pause"), "Pause");
    this.resume = h(
      "button",
      { type: "button", class: "accent", on: { click: act.resume } },
      icon("mic"),
      "Go on recording",
    );
    this.stop = h("button", { type: "button", class: "stop", on: { click: act.stop } }, icon("stop"), "Finish");
    this.reset = h("button", { type: "button", on: { click: act.reset } }, icon("mic"), "New recording");
    this.visit = h("a", { class: "button accent" }, "Open the recording", icon("arrow"));
    this.element = h(
      "section",
      { class: "card console", "aria-label": "Recording" },
      h(
        "div",
        { class: "head" },
        h("span", { class: "dot", "aria-hidden": "true" }),
        this.phase,
        this.time,
        this.buttons,
      ),
      this.meter.element,
      this.progress,
      h("div", { class: "facts" }, this.saved, this.behind),
      this.troubles,
    );
    this.onLevel = ({ detail }) => this.meter.push(detail);
    recording.addEventListener("level", this.onLevel);
    this.ticking = setInterval(() => this.update(), 200);
  }

  dispose() {
    clearInterval(this.ticking);
    this.recording.removeEventListener("level", this.onLevel);
  }

  update() {
    const { recording } = this;
    const { phase, line } = recording;
    this.element.dataset.phase = phase;
    this.element.dataset.line = line?.state ?? "";
    say(this.phase, phase === "sending" ? `Sending ${recording.entry.name ?? "a file"}` : PHASES[phase]);
    say(this.time, clock(recording.length));
    say(this.saved, savedText(recording));
    say(this.behind, behindText(recording));
    const trouble = troubleText(recording);
    say(this.trouble, trouble);
    say(this.countdown, countdownText(recording));
    this.troubles.hidden = !trouble;
    this.meter.element.hidden = phase !== "recording" && phase !== "paused";
    const sending = recording.kind === "upload" && phase === "sending";
    this.progress.hidden = !sending;
    if (sending) this.progress.value = recording.length ? recording.saved / recording.length : 0;
    this.#offer(phase);
  }

  #offer(phase) {
    if (this.offered === phase) return;
    this.offered = phase;
    const held = this.buttons.contains(document.activeElement);
    this.visit.href = `/jobs/${this.recording.entry.job}`;
    const over = this.recording.over ? [this.reset, this.visit] : [];
    const wanted = { recording: [this.pause, this.stop], paused: [this.resume, this.stop] }[phase] ?? over;
    fill(this.buttons, wanted);
    if (held) wanted[0]?.focus(); // the button that was pressed is gone, and the keyboard stays where it was
  }
}

function savedText({ kind, saved, length, phase }) {
  if (phase === "starting") return "";
  if (phase === "sending") return `${clock(saved)} of ${clock(length)} saved`;
  const left = kind === "live" && length - saved > UNSAVED ? `, ${tenths(length - saved)} only in this browser` : "";
  return `${tenths(saved)} saved${left}`;
}

function behindText({ phase, serverState, lag }) {
  if (phase === "finishing" || phase === "sending") {
    if (serverState === "summarizing") return "Writing the summary";
    return lag >= 0.1 ? `${tenths(lag)} still without text` : "";
  }
  if (phase !== "recording" && phase !== "paused") return "";
  return lag >= 0.1 ? `Text is ${tenths(lag)} behind` : "Text is up to date";
}

function countdownText({ line, over }) {
  if (line?.state !== "waiting" || over) return "";
  const wait = Math.ceil((line.retryAt - Date.now()) / 1_000);
  return wait > 0 ? ` Trying again in ${wait} s.` : " Trying again.";
}

function troubleText({ line, notice, over, muted, phase, kept, kind }) {
  if (line?.state === "waiting" && !over) {
    const kept = kind === "live" ? " What you say is kept here meanwhile." : "";
    return `No connection: ${line.why}.${kept}`;
  }
  if (notice && !over) return notice;
  if (muted && phase === "recording") return "No sound comes in. Is the microphone muted?";
  if (kept.trouble && phase === "recording") {
    return `Sound that is not saved would be lost if this page were loaded again: ${kept.trouble}.`;
  }
  return "";
}
