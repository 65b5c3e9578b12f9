/** The microphone as a source of frames. */

const WORKLET = "/web/capture/recorder.worklet.js";

/** Milliseconds that a context may take to start running: without a gesture of the person it never does. */
const RUNNING_WITHIN = 1_000;

/** Milliseconds for the last frames; a context that the system took away gives none. */
const REST_WITHIN = 500;

/** Why there is no sound from the microphone, in a sentence for a person. */
export class MicrophoneError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Why this page cannot have a microphone at all, or null. */
export function obstacle() {
  if (!window.isSecureContext) {
    return new MicrophoneError(
      "insecure",
      `Browsers give the microphone only to pages from https:// or from this very machine (http://localhost). This ` +
        `page comes from ${location.origin}. Open it through https, or choose a file instead.`,
    );
  }
  if (!navigator.mediaDevices?.getUserMedia || typeof AudioWorkletNode === "undefined") {
    return new MicrophoneError(
      "unsupported",
      "This browser cannot record. A current one can, and files work here too.",
    );
  }
  return null;
}

/**
 * Open the microphone; raises MicrophoneError. onFrame: called with { pcm: Int16Array at 16 kHz, peak, rms }, about
 * every 30 ms; onLost: called with a sentence if the sound stops by itself.
 */
export async function openMicrophone({ deviceId, onFrame, onLost }) {
  const missing = obstacle();
  if (missing) throw missing;
  const stream = await ask(deviceId);
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(WORKLET);
    await running(context);
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
    this.track.addEventListener("ended", () => lost("The microphone is gone: it was unplugged, or its use was ended."));
    this.node.onprocessorerror = () => lost("The recorder broke.");
    context.addEventListener("statechange", () => {
      if (context.state !== "running") lost("The system has taken the microphone away, for a call perhaps.");
    });
    this.source = context.createMediaStreamSource(stream);
    // Its output is silent; a node that leads nowhere is not run by every browser.
    this.source.connect(this.node).connect(context.destination);
  }

  get track() {
    return this.stream.getAudioTracks()[0];
  }

  /** The name of the device. */
  get label() {
    return this.track.label;
  }

  /** Stop, once the last frames have been given. */
  async close() {
    if (this.closed) return;
    this.closed = true;
    this.node.port.postMessage("finish");
    await Promise.race([this.done, new Promise((resolve) => setTimeout(resolve, REST_WITHIN))]);
    release(this.stream, this.context);
  }
}

async function ask(deviceId) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: deviceId ? { exact: deviceId } : undefined,
        channelCount: { ideal: 1 },
        // The people on a loudspeaker belong to the meeting, and recognition copes with noise better than with
        // what a filter made for calls leaves of speech.
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
        "The browser may not use the microphone. Allow it for this page (the symbol beside the address), then start again.",
      );
    case "NotFoundError":
      return new MicrophoneError("none", "No microphone was found. Plug one in, or choose a file instead.");
    case "OverconstrainedError":
      return new MicrophoneError("gone", "The chosen microphone is not there any more. Choose another one.");
    case "NotReadableError":
    case "AbortError":
      return new MicrophoneError("busy", "The microphone cannot be read: another program may be using it.");
    default:
      return new MicrophoneError("failed", `The microphone could not be opened: ${error.message || error.name}.`);
  }
}

async function running(context) {
  if (context.state === "running") return;
  const late = new Promise((resolve) => setTimeout(resolve, RUNNING_WITHIN));
  await Promise.race([context.resume(), late]);
  if (context.state !== "running") {
    throw navigator.userActivation?.hasBeenActive
      ? new MicrophoneError("failed", "The browser's sound does not start. It may need a device to play sound on, too.")
      : new MicrophoneError("gesture", "The browser starts the microphone only after a click.");
  }
}

function release(stream, context) {
  for (const track of stream.getTracks()) track.stop();
  void context.close();
}

/** The microphones that can be chosen from, as { id, label }; empty until the browser may name them. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter((device) => device.kind === "audioinput" && device.deviceId && device.label)
    .map((device) => ({ id: device.deviceId, label: device.label }));
}

/** Whether the microphone may be used without asking. */
export async function allowed() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
  } catch {
    return false;
  }
}
