/** The microphone as a source of frames, and the screen lock that keeps it available. */

import { length } from "../core/format.js";
import { Gaps } from "../core/gaps.js";

const WORKLET = new URL("./recorder.worklet.js", import.meta.url);

/** Milliseconds that an audio context may take to start; before the first click on the page it never does. */
const START_TIMEOUT = 1_000;

/** Milliseconds to wait for the last frames; a context that the system has suspended gives none. */
const FLUSH_TIMEOUT = 500;

/** Milliseconds from one look at the microphone to the next. */
const LOOK_INTERVAL = 1_000;

/** Samples per second that are tried where the browser refuses the rate of the output device. */
const COMMON_RATES = [48_000, 44_100];

const LOST = "The microphone was unplugged, or its permission was withdrawn.";

/** The microphone cannot be used; the message is a sentence for a person. */
export class MicrophoneError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Why this page cannot use any microphone, as a MicrophoneError, or null. */
export function unavailable() {
  if (!window.isSecureContext) {
    return new MicrophoneError(
      "insecure",
      `Browsers allow the microphone only on pages from https:// or from this machine (http://localhost). This page ` +
        `is from ${location.origin}. Open it with https, or choose a file instead.`,
    );
  }
  if (!navigator.mediaDevices?.getUserMedia || typeof AudioWorkletNode === "undefined") {
    return new MicrophoneError(
      "unsupported",
      "This browser cannot record. Use a current browser, or choose a file instead.",
    );
  }
  return null;
}

/**
 * Open the microphone; raises MicrophoneError, and then has released it. handlers: { onFrame, onSilence, onNotice,
 * onLost }. onFrame is called with { pcm: Int16Array at 16 kHz, peak, rms }, about every 30 ms; onSilence with the number
 * of samples that are missing before the next frame; onNotice with a sentence; onLost with a sentence if the microphone
 * stops working for good.
 */
export async function openMicrophone(deviceId, handlers) {
  const error = unavailable();
  if (error) throw error;
  const stream = await openStream(deviceId);
  try {
    return await connect(stream, handlers);
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    if (error instanceof MicrophoneError) throw error;
    throw new MicrophoneError("failed", `The recorder could not be started: ${error.message}.`);
  }
}

/** Firefox refuses a context whose rate is not the microphone's: https://bugzilla.mozilla.org/show_bug.cgi?id=1674892. */
async function connect(stream, handlers) {
  const [track] = stream.getAudioTracks();
  const rates = new Set([undefined, track.getSettings().sampleRate, ...COMMON_RATES]);
  let refusal;
  for (const sampleRate of rates) {
    let context = null;
    try {
      context = new AudioContext({ sampleRate });
      const source = context.createMediaStreamSource(stream);
      await context.audioWorklet.addModule(WORKLET);
      await started(context);
      if (track.readyState === "ended") throw new MicrophoneError("lost", LOST);
      return new Microphone(stream, context, source, handlers);
    } catch (error) {
      void context?.close();
      if (error.name !== "NotSupportedError") throw error;
      refusal = error;
    }
  }
  throw new MicrophoneError(
    "rate",
    `The browser does not accept the sample rate of this microphone. Choose another microphone, or set input and ` +
      `output to the same rate in the sound settings of the system. (${refusal.message})`,
  );
}

class Microphone {
  constructor(stream, context, source, { onFrame, onSilence, onNotice, onLost }) {
    this.stream = stream;
    this.context = context;
    this.source = source; // without a reference it may be collected
    this.closed = false;
    this.gaps = new Gaps(performance.now());
    this.on = { onSilence, onNotice };
    this.node = new AudioWorkletNode(context, "recorder", { channelCountMode: "max" });
    this.done = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => {
        if (data.done) return resolve();
        this.#fill(this.gaps.frame(data.pcm.length, data.at, performance.now()));
        onFrame(data);
      };
    });
    const lost = (sentence) => {
      if (!this.closed) onLost(sentence);
    };
    this.track.addEventListener("ended", () => lost(LOST));
    this.node.onprocessorerror = () => lost("The recorder failed.");
    context.addEventListener("statechange", () => {
      if (context.state === "closed") lost("The browser has ended its audio.");
    });
    // Its output is silent, but some browsers do not run a node without a destination.
    source.connect(this.node).connect(context.destination);
    this.looking = setInterval(() => this.#look(), LOOK_INTERVAL);
  }

  /** Why nothing can be heard, as a sentence, or "". */
  get trouble() {
    const cause = this.#silencedBy();
    return cause && `${cause} Silence is recorded meanwhile.`;
  }

  #silencedBy() {
    if (this.context.state !== "running") return "The system has stopped the microphone, perhaps for a call.";
    if (this.track.muted) {
      return "The microphone is muted: by the system, by a switch or key on the device, or by another program.";
    }
    if (this.gaps.stalled(performance.now())) return "The microphone has stopped giving sound.";
    return "";
  }

  #look() {
    this.#fill(this.gaps.look(performance.now()));
    // A call has ended, or the system wants nothing any more: only asking tells.
    if (this.context.state !== "running") this.context.resume().catch(() => {});
  }

  #fill({ silence, lost }) {
    if (silence) this.on.onSilence(silence);
    if (lost) {
      const time = length(lost / 1_000);
      this.on.onNotice(`Nothing was recorded for ${time}: this device slept, or its clock was set.`);
    }
  }

  get track() {
    return this.stream.getAudioTracks()[0];
  }

  /** The name of the device. */
  get label() {
    return this.track.label;
  }

  /** Stop, after the last frames. */
  async close() {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.looking);
    this.node.port.postMessage("finish");
    await Promise.race([this.done, new Promise((resolve) => setTimeout(resolve, FLUSH_TIMEOUT))]);
    for (const track of this.stream.getTracks()) track.stop();
    void this.context.close();
  }
}

async function openStream(deviceId) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: deviceId ? { exact: deviceId } : undefined,
        channelCount: { ideal: 1 },
        // These filters are made for calls: they would remove remote participants, and they harm recognition more
        // than noise does.
        echoCancellation: false,
        noiseSuppression: false,
        autoGainControl: true,
      },
    });
  } catch (error) {
    throw explained(error);
  }
}

function explained(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new MicrophoneError(
        "denied",
        "The browser has no permission to use the microphone. Allow it (the symbol beside the address), then start again.",
      );
    case "NotFoundError":
      return new MicrophoneError("none", "No microphone was found. Plug one in, or choose a file instead.");
    case "OverconstrainedError":
      return new MicrophoneError("gone", "The chosen microphone is no longer connected. Choose another one.");
    case "NotReadableError":
    case "AbortError":
      return new MicrophoneError("busy", "The microphone cannot be read: another program may be using it.");
    default:
      return new MicrophoneError("failed", `The microphone could not be opened: ${error.message || error.name}.`);
  }
}

async function started(context) {
  if (context.state === "running") return;
  const late = new Promise((resolve) => setTimeout(resolve, START_TIMEOUT));
  await Promise.race([context.resume(), late]);
  if (context.state !== "running") {
    throw navigator.userActivation?.hasBeenActive
      ? new MicrophoneError("failed", "The browser cannot start its audio. It may also need an output device.")
      : new MicrophoneError("gesture", "The browser starts the microphone only after a click.");
  }
}

/** The available microphones, { id, label }; empty until the browser may name them. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter((device) => device.kind === "audioinput" && device.deviceId && device.label)
    .map((device) => ({ id: device.deviceId, label: device.label }));
}

/** Whether the browser will open the microphone without a prompt. */
export async function allowed() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
  } catch {
    return false;
  }
}

/** Keeps the screen on: a phone that goes to sleep stops the microphone. */
export class ScreenLock {
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
        this.lock = null; // for example because the battery is low: recording continues
      }
    }
  }
}
