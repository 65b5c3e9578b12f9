/** Samples: conversion to 16 bit, frames, levels, WAV files. Pure. */

/** Samples per second of all sound that is sent. */
export const RATE = 16_000;

/** Samples in a frame of live sound: 30 ms, 960 bytes, which keeps the delay of the text low. */
export const FRAME = 480;

/** Floats in -1..1 as 16-bit samples; values outside are clipped. */
export function toInt16(floats) {
  const pcm = new Int16Array(floats.length);
  for (let i = 0; i < floats.length; i++) {
    pcm[i] = Math.round(Math.max(-1, Math.min(1, floats[i])) * 32_767);
  }
  return pcm;
}

/** The mean of some channels of the same length. */
export function mixDown(channels) {
  if (channels.length === 1) return channels[0];
  const mixed = new Float32Array(channels[0].length);
  for (const channel of channels) {
    for (let i = 0; i < mixed.length; i++) mixed[i] += channel[i] / channels.length;
  }
  return mixed;
}

/** Largest and root mean square value of a frame, each 0..1. */
export function level(pcm) {
  let peak = 0;
  let sum = 0;
  for (const sample of pcm) {
    peak = Math.max(peak, Math.abs(sample));
    sum += sample * sample;
  }
  return { peak: peak / 32_768, rms: pcm.length ? Math.sqrt(sum / pcm.length) / 32_768 : 0 };
}

/** Cuts a stream of samples into frames of one size. */
export class Framer {
  constructor(size = FRAME) {
    this.frame = new Int16Array(size);
    this.filled = 0;
  }

  /** Add any number of samples; gives the frames that are full. */
  push(pcm) {
    const full = [];
    for (let taken = 0; taken < pcm.length;) {
      const part = pcm.subarray(taken, taken + this.frame.length - this.filled);
      this.frame.set(part, this.filled);
      this.filled += part.length;
      taken += part.length;
      if (this.filled === this.frame.length) {
        full.push(this.frame);
        this.frame = new Int16Array(this.frame.length);
        this.filled = 0;
      }
    }
    return full;
  }

  /** What is left, shorter than a frame and perhaps empty. */
  rest() {
    const rest = this.frame.slice(0, this.filled);
    this.filled = 0;
    return rest;
  }
}

/** A WAV file, mono, 16 bit, as an ArrayBuffer. Source: Microsoft, "Multimedia Programming Interface", RIFF WAVE. */
export function wav(pcm, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * pcm.length));
  const tag = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  tag(0, "RIFF");
  view.setUint32(4, 36 + 2 * pcm.length, true);
  tag(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  tag(36, "data");
  view.setUint32(40, 2 * pcm.length, true);
  pcm.forEach((sample, index) => view.setInt16(44 + 2 * index, sample, true));
  return view.buffer;
}
