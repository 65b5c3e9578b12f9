/** The sound of a file, decoded by the browser. */

import { mixDown, RATE } from "../core/pcm.js";
import { clock, size } from "../core/format.js";

/** Seconds. The browser decodes the whole file at its own rate: about 2.5 GB of memory for two hours in stereo. */
const MAX_SECONDS = 2 * 3600;
/** Bytes. */
export const MAX_BYTES = 1e9;

const ADVICE = "The command `stenobus stream FILE --fast` accepts files of any length.";

/** The file cannot be used; the message is a sentence for a person. */
export class FileError extends Error {}

/** All samples of an audio or video file: Float32Array, mono, 16 kHz; raises FileError. */
export async function decode(file) {
  const name = file.name || "the file";
  if (file.size > MAX_BYTES)
    throw new FileError(`“${name}” has ${size(file.size)}; at most ${size(MAX_BYTES)} are accepted here. ${ADVICE}`);
  const seconds = await durationOf(file);
  if (seconds > MAX_SECONDS) {
    throw new FileError(`“${name}” lasts ${clock(seconds)}; at most ${clock(MAX_SECONDS)} are accepted here. ${ADVICE}`);
  }
  let decoded;
  try {
    // A context of this rate resamples to it: https://www.w3.org/TR/webaudio/#dom-baseaudiocontext-decodeaudiodata
    decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new FileError(
      `“${name}” has no sound that this browser can read. WAV, MP3, M4A, FLAC, OGG, Opus and WebM work.`,
    );
  }
  if (decoded.length === 0) throw new FileError(`“${name}” contains no sound.`);
  return mixDown(Array.from({ length: decoded.numberOfChannels }, (_, index) => decoded.getChannelData(index)));
}

/** The length in seconds if the browser knows it before decoding, else 0. */
async function durationOf(file) {
  const url = URL.createObjectURL(file);
  try {
    return await new Promise((resolve) => {
      const audio = new Audio();
      audio.preload = "metadata";
      audio.onloadedmetadata = () => resolve(Number.isFinite(audio.duration) ? audio.duration : 0);
      audio.onerror = () => resolve(0);
      audio.src = url;
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}
