/** The audio tracks of a file: which ones there are, when they begin, and the sound of one. Needs no whole file. */

import { RATE } from "../core/pcm.js";
import { Resampler } from "../core/resampler.js";

/** Seconds. Decoders begin later than the first packet by less; shorter gaps are jitter. */
const MIN_GAP = 0.1;

/** Of libraries, only this reads containers: https://mediabunny.dev. It is loaded once a file was chosen. */
const library = () => import("../vendor/mediabunny/mediabunny.esm.js");

/**
 * The tracks of a file, the best one first: { number, name, lead, track }, where lead is how many seconds after the
 * beginning of the file it begins; none where the library cannot read the file.
 */
export async function tracksOf(file) {
  try {
    const { ALL_FORMATS, BlobSource, Input } = await library();
    const input = new Input({ source: new BlobSource(file), formats: ALL_FORMATS });
    const all = await input.getTracks();
    const times = await Promise.all(all.map((track) => track.getFirstTimestamp()));
    const zero = Math.min(...times);
    const audio = all.flatMap((track, index) => (track.isAudioTrack() ? [{ track, start: times[index] - zero }] : []));
    const tracks = audio.map(({ track, start }, index) => ({
      number: index + 1,
      name: nameOf(track),
      lead: start > MIN_GAP ? start : 0,
      rank: (track.disposition.default ? 0 : 2) + (track.disposition.commentary ? 1 : 0),
      track,
    }));
    return tracks.sort((a, b) => a.rank - b.rank || a.number - b.number);
  } catch {
    return [];
  }
}

/** Language, name and codec of a track, and whether it is the default. */
function nameOf({ languageCode, name, codec, disposition }) {
  const language = languageCode === "und" ? null : languageCode;
  return [language, name, codec ?? "unknown codec", disposition.default ? "default" : null].filter(Boolean).join(", ");
}

/** The channels of a `track` of `tracksOf`, each a Float32Array at 16 kHz; null if this browser cannot decode it. */
export async function channelsOf(track) {
  const { AudioBufferSink } = await library();
  if (!(await track.canDecode().catch(() => false))) return null;
  let channels = [];
  let rate = 0;
  let zero = null;
  let end = 0; // seconds
  for await (const { buffer, timestamp } of new AudioBufferSink(track).buffers()) {
    zero ??= timestamp;
    if (!channels.length) channels = Array.from({ length: buffer.numberOfChannels }, () => ({ parts: [] }));
    if (buffer.sampleRate !== rate) {
      rate = buffer.sampleRate;
      for (const channel of channels) channel.resampler = new Resampler(rate);
    }
    const gap = timestamp - zero - end > MIN_GAP ? timestamp - zero - end : 0;
    channels.forEach(({ parts, resampler }, index) => {
      if (gap) parts.push(resampler.push(new Float32Array(Math.round(gap * rate))));
      const there = index < buffer.numberOfChannels;
      parts.push(resampler.push(there ? buffer.getChannelData(index) : new Float32Array(buffer.length)));
    });
    end += gap + buffer.duration;
  }
  return channels.map(({ parts, resampler }) => joined([...parts, resampler.flush()]));
}

/** All samples in one array. */
export function joined(parts) {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
