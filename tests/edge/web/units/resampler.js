import { Resampler } from "/web/core/resampler.js";
import { chance, equal, near, ok, raises, test } from "./harness.js";

const RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000];

function tone(frequency, rate, seconds) {
  return Float32Array.from({ length: Math.round(rate * seconds) }, (_, n) =>
    Math.sin((2 * Math.PI * frequency * n) / rate),
  );
}

function whole(samples, rate) {
  const resampler = new Resampler(rate);
  const first = resampler.push(samples);
  const rest = resampler.flush();
  return Float32Array.from([...first, ...rest]);
}

function decibels(samples) {
  const middle = samples.subarray(samples.length >> 2, (3 * samples.length) >> 2); // its ends have edges
  return 10 * Math.log10(middle.reduce((sum, value) => sum + value * value, 1e-20) / middle.length);
}

const FULL = 10 * Math.log10(0.5); // a sine of amplitude 1

test("what is below the limit passes as it is, at its time", () => {
  for (const rate of RATES) {
    const most = 0.45 * Math.min(rate, 16_000);
    for (const frequency of [50, 440, 1_000, 0.5 * most, most]) {
      const out = whole(tone(frequency, rate, 0.5), rate);
      const ideal = tone(frequency, 16_000, 0.5);
      for (let n = 2_000; n < 6_000; n++) near(out[n], ideal[n], 1e-3, `${rate} Hz: ${frequency} Hz, sample ${n}`);
    }
  }
});

test("what cannot be had at the new rate is stopped, not folded back", () => {
  for (const rate of [22_050, 44_100, 48_000, 96_000]) {
    for (let frequency = 8_000; frequency < rate / 2; frequency += 650) {
      const left = decibels(whole(tone(frequency, rate, 0.5), rate)) - FULL;
      ok(left < -75, `${rate} Hz: ${frequency} Hz comes through at ${left.toFixed(1)} dB`);
    }
  }
});

test("a sweep leaves nothing behind from 8 kHz on", () => {
  const rate = 48_000;
  const seconds = 4;
  let phase = 0;
  const sweep = Float32Array.from({ length: rate * seconds }, (_, n) => {
    phase += (2 * Math.PI * (24_000 * n)) / (rate * seconds) / rate;
    return Math.sin(phase);
  });
  const out = whole(sweep, rate);
  const at = (kilohertz) => Math.round((kilohertz / 24) * seconds * 16_000);
  const loudest = (from, to) =>
    out.subarray(at(from), at(to)).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  near(loudest(0.1, 7), 1, 0.01, "amplitude below 7 kHz");
  ok(20 * Math.log10(loudest(8.1, 23.9)) < -70, `${loudest(8.1, 23.9)} is left above 8.1 kHz`);
});

test("frequencies of a lower rate are not made up", () => {
  for (const rate of [8_000, 11_025]) {
    const out = whole(tone(1_000, rate, 1), rate);
    // At the new rate the image of 1 kHz would be at rate - 1 kHz.
    const image = tone(rate - 1_000, 16_000, 1);
    const part = out.reduce((sum, value, n) => sum + value * image[n], 0) / (out.length / 2);
    near(part, 0, 1e-3, `image at ${rate - 1_000} Hz`);
  }
});

test("pieces of any size give the same samples as the whole", () => {
  const next = chance(7);
  for (const rate of RATES) {
    const samples = Float32Array.from({ length: rate / 2 }, () => 2 * next() - 1);
    const expected = whole(samples, rate);
    const resampler = new Resampler(rate);
    const found = [];
    for (let at = 0; at < samples.length;) {
      const size = Math.floor(next() * 700);
      found.push(...resampler.push(samples.subarray(at, at + size)));
      at += size;
    }
    found.push(...resampler.flush());
    ok(found.length === expected.length, `${rate} Hz: ${found.length} samples, expected ${expected.length}`);
    ok(
      found.every((value, n) => value === expected[n]),
      `${rate} Hz: other samples`,
    );
  }
});

test("as much comes out as went in", () => {
  for (const rate of RATES) {
    for (const length of [0, 1, 7, 441, 1_000, 44_100]) {
      equal(whole(new Float32Array(length), rate).length, Math.ceil((length * 16_000) / rate));
    }
  }
});

test("a constant stays a constant", () => {
  for (const rate of RATES) {
    const out = whole(new Float32Array(rate).fill(0.5), rate);
    for (let n = 4_000; n < 12_000; n++) near(out[n], 0.5, 1e-6, `${rate} Hz: sample ${n}`);
  }
});

test("a rate that is none is refused", () => {
  for (const rate of [0, -1, 44_100.5, NaN]) raises(() => new Resampler(rate), /sample rates are whole numbers/);
});
