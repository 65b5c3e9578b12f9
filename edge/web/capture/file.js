/** Sound of a file, decoded by the browser. */

import { mixDown, RATE } from "../core/pcm.js";
import { clock, size } from "../core/format.js";

/** The whole file is decoded at once, at the rate it was made with: about 2.5 GB of memory for two hours in stereo. */
export const LONGEST = 2 * 3600;
export const LARGEST = 1e9;

const ADVICE = "The command `stenobus stream FILE --fast` takes files of any length.";

/** Why a file was not taken, in a sentence for a person. */
export class FileError extends Error {}

/** All samples of an audio or video file: Float32Array, mono, 16 kHz; raises FileError. */
export async function decode(file) {
  const name = file.name || "the file";
  if (file.size > LARGEST)
    throw new FileError(`“${name}” has ${size(file.size)}; up to ${size(LARGEST)} are taken. ${ADVICE}`);
  const seconds = await duration(file);
  if (seconds > LONGEST) {
    throw new FileError(`“${name}” lasts ${clock(seconds)}; up to ${clock(LONGEST)} are taken here. ${ADVICE}`);
  }
  let decoded;
  try {
    // A context of that rate converts to it: https://www.w3.org/TR/webaudio/#dom-baseaudiocontext-decodeaudiodata
    decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new FileError(
      `“${name}” has no sound that this browser can read. WAV, MP3, M4A, FLAC, OGG, Opus and WebM are fine.`,
    );
  }
  if (decoded.length === 0) throw new FileError(`“${name}” has no sound in it.`);
  return mixDown(Array.from({ length: decoded.numberOfChannels }, (_, index) => decoded.getChannelData(index)));
}

/** Seconds, as far as the browser can tell before it decodes; else 0. */
async function duration(file) {
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
