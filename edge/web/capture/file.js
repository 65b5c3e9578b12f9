/** The sound of a file, decoded by the browser. */

import { clock, size } from "../core/format.js";
import { partsOf } from "../core/joined.js";
import { channelIndex, channelNames, clean, mix, scale } from "../core/mix.js";
import { RATE } from "../core/pcm.js";
import { channelsOf, joined, tracksOf } from "./tracks.js";

/** Seconds. The browser decodes the whole file at its own rate: about 2.5 GB of memory for two hours in stereo. */
const MAX_SECONDS = 2 * 3600;
/** Bytes. */
export const MAX_BYTES = 1e9;

const ADVICE = "The command `stenobus stream FILE --fast` accepts files of any length.";

/** The file cannot be used; the message is a sentence for a person. */
export class FileError extends Error {}

/** The loudest sample of a track in which there is nothing to hear. */
const SILENT = 0.001;

/** Seconds for which channels may cancel each other out, or sound may be missing, and nobody is told. */
const SHORT = 1;

/**
 * The sound of an audio or video file. track: its number, from 1 on, or null for the best one; channel: "mix", "left",
 * "right", a number, or "each". Gives one sound, with "each" one for each channel: { samples: Float32Array, mono, 16 kHz;
 * track, channel; taken: what `metadata.audio` of its job says, or null; told: sentences about what is unusual }.
 * Raises FileError.
 */
export async function decode(file, { track = null, channel = "mix" } = {}) {
  const name = file.name || "the file";
  if (file.size > MAX_BYTES)
    throw new FileError(`“${name}” has ${size(file.size)}; at most ${size(MAX_BYTES)} are accepted here. ${ADVICE}`);
  const seconds = await durationOf(file);
  if (seconds > MAX_SECONDS) {
    throw new FileError(`“${name}” lasts ${clock(seconds)}; at most ${clock(MAX_SECONDS)} are accepted here. ${ADVICE}`);
  }
  const found = await chosenTrack(file, name, track);
  const count = found.parts[0].length;
  const channels = channel === "each" ? channelNames(count) : [channel];
  return channels.map((each) => {
    if (channelIndex(each, count) === -1) {
      throw new FileError(`“${name}” has no channel “${each}”: there ${count === 1 ? "is one" : `are ${count}`}.`);
    }
    const told = [...found.told];
    const samples = joined([
      new Float32Array(Math.round(found.lead * RATE)),
      ...found.parts.map((channels) => oneOf(channels, each, told)),
    ]);
    if (found.lead) told.push(`The sound begins ${found.lead.toFixed(1)} s after the start of the file.`);
    if (!samples.some((sample) => Math.abs(sample) > SILENT)) told.push("There is nothing but silence in it.");
    else if (seconds - samples.length / RATE > SHORT && samples.length / RATE < 0.95 * seconds) {
      told.push(`The file lasts ${clock(seconds)}, and ${clock(samples.length / RATE)} of sound were found in it.`);
    }
    const { number, tracks } = found;
    const taken = tracks > 1 || count > 1 ? { track: number, tracks, channel: each, channels: count } : null;
    return { samples, track, channel: each, taken, told };
  });
}

/** One channel of a part, or the mix of all; adds to `told`. */
function oneOf(channels, channel, told) {
  const index = channelIndex(channel, channels.length);
  if (index !== null && index !== -1) return channels[index];
  const { samples, cancelled } = mix(channels);
  if (cancelled > Math.max(SHORT, (0.02 * samples.length) / RATE)) {
    told.push(`Its channels cancel each other out for ${cancelled.toFixed(1)} s: one of them was taken there.`);
  }
  return samples;
}

/** The wanted track, or the best one with sound: { parts, each with its channels; lead, number, tracks, told }. */
async function chosenTrack(file, name, wanted) {
  const tracks = await tracksOf(file);
  const chosen = wanted === null ? tracks : tracks.filter(({ number }) => number === wanted);
  if (wanted !== null && !chosen.length && (tracks.length || wanted > 1)) {
    const all = [...tracks].sort((a, b) => a.number - b.number).map(({ number, name }) => `${number} (${name})`);
    throw new FileError(`“${name}” has no track ${wanted}. ${all.length ? `Its tracks are ${all.join(", ")}.` : ADVICE}`);
  }
  if (tracks.length > 1) {
    let first = null;
    for (const { number, name: title, lead, track } of chosen) {
      const channels = await channelsOf(track).catch(() => null);
      if (!channels?.[0]?.length) continue;
      const bad = clean(channels);
      const silent = !channels.some((channel) => channel.some((sample) => Math.abs(sample) > SILENT));
      const told = wanted === null ? [`Track ${number} of ${tracks.length} was taken (${title}).`] : [];
      const result = { parts: [channels], lead, number, tracks: tracks.length, told: [...told, ...notNumbers(bad)] };
      first ??= result;
      if (!silent) return result;
    }
    if (first) return first;
    if (wanted > 1) throw new FileError(`This browser cannot decode track ${wanted} of “${name}”. ${ADVICE}`);
  }
  const only = tracks.find(({ number }) => number === 1);
  const about = { lead: only?.lead ?? 0, number: 1, tracks: Math.max(1, tracks.length) };
  try {
    const { parts, told } = await decodedByBrowser(file, name);
    if (tracks.length > 1) told.push(`This browser can decode only the first of its ${tracks.length} tracks. ${ADVICE}`);
    return { ...about, parts, told };
  } catch (error) {
    // The library reads containers that the browser does not, such as MPEG-TS.
    const channels = tracks.length === 1 ? await channelsOf(only.track).catch(() => null) : null;
    if (!channels?.[0]?.length) throw error;
    return { ...about, parts: [channels], told: notNumbers(clean(channels)) };
  }
}

/** All parts of the file, each with its channels at 16 kHz. */
async function decodedByBrowser(file, name) {
  const { parts, told } = partsOf(new Uint8Array(await file.arrayBuffer()));
  const decoded = [];
  for (const [index, part] of parts.entries()) {
    try {
      // A context of this rate resamples to it: https://www.w3.org/TR/webaudio/#dom-baseaudiocontext-decodeaudiodata
      const buffer = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(part.buffer);
      decoded.push(Array.from({ length: buffer.numberOfChannels }, (_, at) => buffer.getChannelData(at)));
    } catch {
      if (parts.length > 1) told.push(`Part ${index + 1} of the file cannot be read: it was left out.`);
    }
  }
  if (!decoded.length) {
    throw new FileError(
      `“${name}” has no sound that this browser can read. WAV, MP3, M4A, FLAC, OGG, Opus and WebM work.`,
    );
  }
  if (!decoded.some(([first]) => first.length)) throw new FileError(`“${name}” contains no sound.`);
  if (parts.length > 1) told.push(`It consists of ${parts.length} files that were joined.`);
  told.push(...notNumbers(decoded.reduce((sum, each) => sum + clean(each), 0)));
  if (decoded.filter(scale).length) told.push("Its samples are far above full scale: they were scaled.");
  return { parts: decoded, told };
}

function notNumbers(count) {
  return count ? [`${count} samples are infinite or not a number: they became silence.`] : [];
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
