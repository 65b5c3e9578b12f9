/** The panel of a recording: its phase, its progress, its problems, and its buttons. */

import { at } from "../base.js";
import { fill, h, icon, setText } from "../dom.js";
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

/** Seconds of unsaved sound from which on they are shown: acks come twice a second. */
const UNSAVED_SHOWN = 2.5;

export class RecordingPanel {
  /** actions: { pause, resume, stop, reset }, each called without arguments. */
  constructor(recording, actions) {
    this.recording = recording;
    this.meter = new Meter();
    this.phase = h("span", { class: "phase" });
    this.time = h("span", { class: "elapsed", role: "timer", "aria-label": "Recorded" });
    this.saved = h("span", { class: "fact saved" });
    this.lag = h("span", { class: "fact" });
    this.problem = h("span", { role: "alert" });
    // A screen reader announces the problem, but not each second of the countdown.
    this.countdown = h("span", { "aria-hidden": "true" });
    this.problems = h("p", { class: "problem", hidden: true }, this.problem, this.countdown);
    this.progress = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Sent" });
    this.buttons = h("div", { class: "buttons" });
    this.pause = h("button", { type: "button", on: { click: actions.pause } }, icon("pause"), "Pause");
    this.resume = h(
      "button",
      { type: "button", class: "accent", on: { click: actions.resume } },
      icon("mic"),
      "Continue recording",
    );
    this.stop = h("button", { type: "button", class: "stop", on: { click: actions.stop } }, icon("stop"), "Finish");
    this.reset = h("button", { type: "button", on: { click: actions.reset } }, icon("mic"), "New recording");
    this.visit = h("a", { class: "button accent" }, "Open the recording", icon("arrow"));
    this.element = h(
      "section",
      { class: "card panel", "aria-label": "Recording" },
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
      h("div", { class: "facts" }, this.saved, this.lag),
      this.problems,
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
    const { phase, connection } = recording;
    this.element.dataset.phase = phase;
    this.element.dataset.connection = connection?.state ?? "";
    setText(this.phase, phase === "sending" ? `Sending ${recording.entry.name ?? "a file"}` : PHASES[phase]);
    setText(this.time, clock(recording.length));
    setText(this.saved, savedText(recording));
    setText(this.lag, lagText(recording));
    const problem = problemText(recording);
    setText(this.problem, problem);
    setText(this.countdown, countdownText(recording));
    this.problems.hidden = !problem;
    this.meter.element.hidden = phase !== "recording" && phase !== "paused";
    const sending = recording.kind === "upload" && phase === "sending";
    this.progress.hidden = !sending;
    if (sending) this.progress.value = recording.length ? recording.saved / recording.length : 0;
    this.#showButtons(phase);
  }

  #showButtons(phase) {
    if (this.buttonsOf === phase) return;
    this.buttonsOf = phase;
    const focused = this.buttons.contains(document.activeElement);
    this.visit.href = at(`jobs/${this.recording.entry.job}`);
    const finished = this.recording.ended ? [this.reset, this.visit] : [];
    const wanted = { recording: [this.pause, this.stop], paused: [this.resume, this.stop] }[phase] ?? finished;
    fill(this.buttons, wanted);
    if (focused) wanted[0]?.focus(); // the pressed button is gone: keep the focus near it
  }
}

function savedText({ kind, saved, length, filled, phase, stored }) {
  if (phase === "starting") return "";
  if (phase === "sending") return `${clock(saved)} of ${clock(length)} saved`;
  const unsaved = kind === "live" ? length - saved : 0;
  const place = stored.problem ? "page" : "browser";
  const note = unsaved > UNSAVED_SHOWN ? `, ${tenths(unsaved)} only in this ${place}` : "";
  const gaps = filled ? `, ${tenths(filled)} silent because the microphone gave nothing` : "";
  return `${tenths(saved)} saved${note}${gaps}`;
}

function lagText({ phase, serverState, lag }) {
  if (phase === "finishing" || phase === "sending") {
    if (serverState === "summarizing") return "Writing the summary";
    return lag >= 0.1 ? `${tenths(lag)} still without text` : "";
  }
  if (phase !== "recording" && phase !== "paused") return "";
  return lag >= 0.1 ? `Text is ${tenths(lag)} behind` : "Text is up to date";
}

function countdownText({ connection, ended }) {
  if (connection?.state !== "waiting" || ended) return "";
  const wait = Math.ceil((connection.retryAt - Date.now()) / 1_000);
  return wait > 0 ? ` Trying again in ${wait} s.` : " Trying again.";
}

/** All that is wrong; what goes before a countdown comes last. */
function problemText({ connection, notice, ended, silence, stored, kind, trouble }) {
  if (ended) return "";
  const kept = kind === "live" && !stored.problem ? " What you say is stored in this browser meanwhile." : "";
  const sentences = [
    notice,
    silence,
    stored.problem ? `Unsaved sound would be lost if this page were closed or reloaded: ${stored.problem}.` : "",
  ];
  if (connection?.state === "waiting") sentences.push(`No connection: ${connection.reason}.${kept}`);
  else if (trouble) sentences.push(`The server waits: ${trouble}.${kept}`);
  return sentences.filter(Boolean).join(" ");
}
