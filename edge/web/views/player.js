/** The player of a recording: a waveform, and playback from any position. */

import { jobUrl } from "../api.js";
import { clock } from "../core/format.js";
import { fill, h, icon, setText } from "../dom.js";
import WaveSurfer from "../vendor/wavesurfer/wavesurfer.esm.js";

const SPEEDS = [1, 1.25, 1.5, 2, 0.75];

/** Seconds that an arrow key moves. */
const STEP = 5;

const HEIGHT = 72;

export class Player {
  /** peaks: { min, max } of all `duration` seconds; onTime: called with the position in seconds when it changes. */
  constructor({ job, peaks, duration, onTime }) {
    this.duration = duration;
    this.onTime = onTime;
    this.audio = h("audio", { preload: "metadata", src: jobUrl(job, "audio.wav") });
    this.button = h("button", { type: "button", class: "play", on: { click: () => this.toggle() } });
    this.position = h("span", { class: "position" });
    this.speed = h("button", { type: "button", class: "plain speed", on: { click: () => this.#nextSpeed() } });
    this.wave = h("div", {
      class: "wave",
      tabIndex: 0,
      role: "slider",
      "aria-label": "Position",
      "aria-valuemin": 0,
      "aria-valuemax": Math.round(duration),
    });
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.element = h(
      "section",
      { class: "card player", "aria-label": "Player" },
      this.button,
      h("div", { class: "track" }, this.wave, h("div", { class: "under" }, this.position, this.speed)),
      this.problem,
      this.audio,
    );
    this.surfer = WaveSurfer.create({
      container: this.wave,
      media: this.audio,
      peaks: [peaks.max, peaks.min],
      duration,
      height: HEIGHT,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      barMinHeight: 1,
      cursorWidth: 2,
      normalize: true,
      dragToSeek: true,
      hideScrollbar: true,
      cspNonce: document.querySelector("script[nonce]").nonce,
      ...colours(),
    });
    this.audio.addEventListener("play", () => this.#show());
    this.audio.addEventListener("pause", () => this.#show());
    this.audio.addEventListener("error", () => this.#failed());
    this.surfer.on("timeupdate", (time) => this.#timeChanged(time));
    this.#speed(SPEEDS[0]);
    this.#show();
    this.#timeChanged(0);
  }

  dispose() {
    this.audio.pause();
    this.surfer.destroy();
    this.audio.removeAttribute("src");
    this.audio.load(); // cancels its request
  }

  /** Use the colours of the current theme. */
  recolour() {
    this.surfer.setOptions(colours());
  }

  get time() {
    return this.surfer.getCurrentTime();
  }

  get playing() {
    return !this.audio.paused;
  }

  playFrom(seconds) {
    this.seek(seconds);
    this.#play();
  }

  seek(seconds) {
    this.surfer.setTime(Math.max(0, Math.min(this.duration, seconds)));
  }

  step(direction) {
    this.seek(this.time + direction * STEP);
  }

  toggle() {
    if (this.playing) this.audio.pause();
    else this.#play();
  }

  #play() {
    this.audio.play().catch((error) => error.name === "AbortError" || this.#failed());
  }

  #failed() {
    setText(this.problem, "The sound cannot be played: the server cannot be reached, or no longer has it.");
    this.problem.hidden = false;
  }

  #show() {
    fill(this.button, icon(this.playing ? "pause" : "play"));
    this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  #timeChanged(time) {
    setText(this.position, `${clock(time)} / ${clock(this.duration)}`);
    this.wave.setAttribute("aria-valuenow", String(Math.round(time)));
    this.wave.setAttribute("aria-valuetext", `${clock(time)} of ${clock(this.duration)}`);
    this.onTime(time);
  }

  #nextSpeed() {
    this.#speed(SPEEDS[(SPEEDS.indexOf(this.audio.playbackRate) + 1) % SPEEDS.length]);
  }

  #speed(rate) {
    this.audio.playbackRate = this.audio.defaultPlaybackRate = rate;
    setText(this.speed, `${rate}×`);
    this.speed.setAttribute("aria-label", `Speed ${rate}`);
  }
}

/** The colours of the style sheet: a canvas cannot use CSS variables. */
function colours() {
  const style = (name) => {
    const probe = h("span", { class: `colour ${name}` });
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  return { waveColor: style("wave-rest"), progressColor: style("wave-played"), cursorColor: style("wave-played") };
}
