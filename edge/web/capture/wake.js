/** Keeps the screen on while something is recorded: a phone that sleeps takes the microphone away. */

export class Wake {
  constructor() {
    this.wanted = false;
    this.lock = null;
    document.addEventListener("visibilitychange", () => this.#apply());
  }

  set(wanted) {
    if (this.wanted === wanted) return;
    this.wanted = wanted;
    void this.#apply();
  }

  async #apply() {
    if (!this.wanted) {
      await this.lock?.release();
      this.lock = null;
    } else if (document.visibilityState === "visible") {
      try {
        this.lock = await navigator.wakeLock?.request("screen");
      } catch {
        this.lock = null; // a battery that is low, for example: the recording goes on
      }
    }
  }
}
