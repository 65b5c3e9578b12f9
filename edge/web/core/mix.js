/** Which channels of a file are heard, mixed to one. Pure. As `audio/channels.py`, which says where the figures are from. */

import { RATE } from "./pcm.js";

const BLOCK = 0.05 * RATE;
const MEMORY = 0.02 * RATE;

/** Ratios of power. A mix of two channels of which one is empty is 6 dB quieter, and stays a mix. */
const LOST = 10 ** -0.9;
const FOUND = 10 ** -0.7;
const LOUDER = 10 ** 0.6;
const CANCELS = 0.25;

/** No sound of which 1 is full scale is louder. */
const UNSCALED = 16;

/** Power of what nobody hears. */
const SILENT = 1e-8;

/** What may be chosen of so many channels: left and right, or numbers from 1 on. */
export function channelNames(count) {
  return count === 2 ? ["left", "right"] : Array.from({ length: count }, (_, index) => `${index + 1}`);
}

/** The index of a chosen channel; null for the mix, and -1 if there is no such channel. */
export function channelIndex(channel, count) {
  if (channel === "mix") return null;
  const index = ["left", "right"].indexOf(channel);
  if (index >= 0) return count > index && count > 1 ? index : -1;
  return channel >= 1 && channel <= count ? channel - 1 : -1;
}

/** Replace what is no number or infinite by silence; gives how many samples that were. */
export function clean(channels) {
  let bad = 0;
  for (const channel of channels) {
    for (let i = 0; i < channel.length; i++) {
      if (Number.isFinite(channel[i])) continue;
      channel[i] = 0;
      bad++;
    }
  }
  return bad;
}

/** Scale floats in the range of integers, as programs write them that forget to; gives whether they were. */
export function scale(channels) {
  let peak = 0;
  for (const channel of channels) for (const sample of channel) peak = Math.max(peak, Math.abs(sample));
  if (peak < UNSCALED) return false;
  const full = peak > 1.1 * 2 ** 15 ? 2 ** 31 : 2 ** 15; // a filter may exceed the range a little
  for (const channel of channels) for (let i = 0; i < channel.length; i++) channel[i] /= full;
  return true;
}

/**
 * The mean of channels at 16 kHz; where it is much quieter than the loudest one, because they cancel each other out or
 * most of many are empty, that one alone. Gives { samples, cancelled, from }: for how many seconds they cancelled each
 * other out, and from when on.
 */
export function mix(channels) {
  if (channels.length === 1) return { samples: channels[0], cancelled: 0, from: 0 };
  const samples = new Float32Array(channels[0].length);
  const power = new Float64Array(channels.length + 1); // of each channel and of the mix
  let [alone, cancelled, from] = [-1, 0, 0];
  for (let start = 0; start < samples.length; start += BLOCK) {
    const end = Math.min(start + BLOCK, samples.length);
    const kept = start ? Math.exp((start - end) / MEMORY) : 0;
    for (const channel of channels) {
      for (let i = start; i < end; i++) samples[i] += channel[i] / channels.length;
    }
    const now = [...channels, samples].map((channel) => powerOf(channel, start, end));
    now.forEach((value, index) => (power[index] = kept * power[index] + (1 - kept) * value));
    const before = start ? alone : null;
    if (Math.max(...now.slice(0, -1)) >= SILENT) {
      alone = choose(power, alone);
      const alike = power.subarray(0, -1).reduce((sum, value) => sum + value, 0) / channels.length ** 2;
      if (alone >= 0 && power[channels.length] < CANCELS * alike) {
        if (!cancelled) from = start / RATE;
        cancelled += (end - start) / RATE;
      }
    }
    fade(samples, channels[before ?? alone], channels[alone], start, end);
  }
  return { samples, cancelled, from };
}

/** The channel that is taken instead of the mix, or -1. */
function choose(power, alone) {
  const mixed = power.at(-1);
  const loudest = power.subarray(0, -1).reduce((best, value, index) => (value > power[best] ? index : best), 0);
  if (alone < 0) return mixed < LOST * power[loudest] ? loudest : -1;
  if (mixed > FOUND * power[loudest]) return -1;
  return power[loudest] > LOUDER * power[alone] ? loudest : alone;
}

/** Go from one channel to another within a block of the mix; undefined is the mix itself. */
function fade(mixed, before, after, start, end) {
  if (!before && !after) return;
  for (let i = start; i < end; i++) {
    const part = before === after ? 1 : (i - start) / (end - start);
    mixed[i] = part * (after ?? mixed)[i] + (1 - part) * (before ?? mixed)[i];
  }
}

function powerOf(samples, start, end) {
  let sum = 0;
  for (let i = start; i < end; i++) sum += samples[i] * samples[i];
  return sum / (end - start);
}
