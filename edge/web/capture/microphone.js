/** The microphone as a source of frames, and the screen lock that keeps it available. */

const WORKLET = new URL("./recorder.worklet.js", import.meta.url);

/** Milliseconds that an audio context may take to start; before the first click on the page it never does. */
const START_TIMEOUT = 1_000;

/** Milliseconds to wait for the last frames; a context that the system has suspended gives none. */
const FLUSH_TIMEOUT = 500;

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
 * Open the microphone; raises MicrophoneError. onFrame: called with { pcm: Int16Array at 16 kHz, peak, rms }, about
 * every 30 ms; onLost: called with a sentence if the microphone stops working.
 */
export async function openMicrophone({ deviceId, onFrame, onLost }) {
  const error = unavailable();
  if (error) throw error;
  const stream = await openStream(deviceId);
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(WORKLET);
    await started(context);
  } catch (error) {
    release(stream, context);
    if (error instanceof MicrophoneError) throw error;
    throw new MicrophoneError("failed", `The recorder could not be started: ${error.message}.`);
  }
  return new Microphone(stream, context, onFrame, onLost);
}

class Microphone {
  constructor(stream, context, onFrame, onLost) {
    this.stream = stream;
    this.context = context;
    this.closed = false;
    this.node = new AudioWorkletNode(context, "recorder", { channelCountMode: "max" });
    this.done = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => (data.done ? resolve() : onFrame(data));
    });
    const lost = (sentence) => {
      if (!this.closed) onLost(sentence);
    };
    this.track.addEventListener("ended", () => lost("The microphone was unplugged, or its permission was withdrawn."));
    this.node.onprocessorerror = () => lost("The recorder failed.");
    context.addEventListener("statechange", () => {
      if (context.state !== "running") lost("The system has stopped the microphone, perhaps for a call.");
    });
    this.source = context.createMediaStreamSource(stream);
    // Its output is silent, but some browsers do not run a node without a destination.
    this.source.connect(this.node).connect(context.destination);
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
    this.node.port.postMessage("finish");
    await Promise.race([this.done, new Promise((resolve) => setTimeout(resolve, FLUSH_TIMEOUT))]);
    release(this.stream, this.context);
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

function release(stream, context) {
  for (const track of stream.getTracks()) track.stop();
  void context.close();
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
