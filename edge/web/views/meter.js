/** The level of the microphone: the last seconds as bars, and the current value for screen readers. */

import { h } from "../dom.js";

const BAR = 3;
const GAP = 2;
/** Frames of 30 ms in a bar. */
const FRAMES = 2;
/** The quietest level that shows, in dB of full scale. */
const FLOOR = -54;

export class Meter {
  constructor() {
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.element = h(
      "div",
      {
        class: "meter",
        role: "meter",
        "aria-label": "Microphone level",
        "aria-valuemin": FLOOR,
        "aria-valuemax": 0,
        "aria-valuenow": FLOOR,
      },
      this.canvas,
    );
    this.bars = [];
    this.frames = 0;
    this.loudest = 0;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
  }

  /** Add a frame of the microphone. */
  push({ rms }) {
    this.loudest = Math.max(this.loudest, rms);
    this.frames += 1;
    if (this.frames % (this.still.matches ? 16 : FRAMES)) return;
    this.bars.push(height(this.loudest));
    this.loudest = 0;
    this.draw();
    if (this.frames % 32 === 0) {
      this.element.setAttribute("aria-valuenow", String(Math.round(FLOOR * (1 - this.bars.at(-1)))));
    }
  }

  /** Draw it in the next frame of the screen. */
  draw() {
    cancelAnimationFrame(this.request);
    this.request = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const { canvas } = this;
    const scale = devicePixelRatio;
    const [width, tall] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(tall * scale)) canvas.height = Math.round(tall * scale);
    const shown = Math.floor((width + GAP) / (BAR + GAP));
    this.bars.splice(0, this.bars.length - shown);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, tall);
    context.fillStyle = getComputedStyle(canvas).color;
    const first = shown - this.bars.length;
    for (let position = 0; position < shown; position++) {
      const value = this.bars[position - first] ?? 0;
      const bar = Math.max(BAR, value * tall);
      context.globalAlpha = position < first ? 0.22 : 1;
      context.beginPath();
      context.roundRect(position * (BAR + GAP), (tall - bar) / 2, BAR, bar, BAR / 2);
      context.fill();
    }
  }
}

function height(rms) {
  return rms > 0 ? Math.max(0, 1 - (20 * Math.log10(rms)) / FLOOR) : 0;
}
