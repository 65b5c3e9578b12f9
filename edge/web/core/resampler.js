/**
 * Conversion between sample rates: a polyphase FIR low-pass with a Kaiser window. Pure.
 *
 * Passes up to 90 % of the lower of the two Nyquist frequencies and stops everything from 100 % on by 80 dB, so that
 * nothing is folded back. Length and beta: Kaiser's formulas, Oppenheim and Schafer, Discrete-Time Signal Processing,
 * 3rd edition, section 7.6.
 */

const STOP_BAND_DB = 80;
const PASS = 0.9;

export class Resampler {
  /** from, to: samples per second, whole numbers. */
  constructor(from, to = 16_000) {
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 1 || to < 1) {
      throw new RangeError(`sample rates are whole numbers above 0, not ${from} and ${to}`);
    }
    const shared = gcd(from, to);
    this.up = to / shared;
    this.down = from / shared;
    if (this.up === this.down) return;
    const { half, phases } = design(from, to, this.up);
    this.half = half;
    this.phases = phases;
    // The first output is at the first input, whose filter reaches half - 1 samples back: silence.
    this.history = new Float32Array(half - 1);
    this.phase = 0;
    this.taken = 0;
    this.given = 0;
  }

  /** Take samples of any number; gives those that are complete at the new rate. Output n is at input n * from / to. */
  push(samples) {
    if (this.up === this.down) return samples.slice();
    this.taken += samples.length;
    return this.#convert(samples, Infinity);
  }

  /** The rest, once nothing more comes: in all ceil(taken * to / from) samples were given then. */
  flush() {
    if (this.up === this.down) return new Float32Array(0);
    const total = Math.ceil((this.taken * this.up) / this.down);
    return this.#convert(new Float32Array(this.half), total - this.given);
  }

  #convert(samples, most) {
    const { half, up, down, phases } = this;
    const taps = 2 * half;
    const buffer = new Float32Array(this.history.length + samples.length);
    buffer.set(this.history);
    buffer.set(samples, this.history.length);
    const room = Math.max(0, Math.ceil(((buffer.length - taps + 1) * up) / down + 1));
    const out = new Float32Array(Math.min(most, room));
    let count = 0;
    let first = 0;
    let phase = this.phase;
    while (first + taps <= buffer.length && count < most) {
      let sum = 0;
      for (let tap = 0, row = phase * taps; tap < taps; tap++) sum += buffer[first + tap] * phases[row + tap];
      out[count++] = sum;
      phase += down;
      first += Math.floor(phase / up);
      phase %= up;
    }
    this.history = buffer.slice(first);
    this.phase = phase;
    this.given += count;
    return out.subarray(0, count);
  }
}

/** Filter coefficients, one row of 2 * half for each of `up` positions between two inputs. */
function design(from, to, up) {
  const nyquist = Math.min(from, to) / 2;
  const width = ((1 - PASS) * nyquist) / from;
  const half = Math.ceil((STOP_BAND_DB - 7.95) / (2.285 * 2 * Math.PI * width) / 2);
  const beta = 0.1102 * (STOP_BAND_DB - 8.7);
  const cutoff = ((1 + PASS) * nyquist) / from;
  const phases = new Float32Array(up * 2 * half);
  for (let phase = 0; phase < up; phase++) {
    const row = phases.subarray(phase * 2 * half, (phase + 1) * 2 * half);
    let sum = 0;
    for (let tap = 0; tap < row.length; tap++) {
      const time = tap - (half - 1) - phase / up;
      const window = bessel(beta * Math.sqrt(Math.max(0, 1 - (time / half) ** 2)));
      row[tap] = sinc(cutoff * time) * window;
      sum += row[tap];
    }
    for (let tap = 0; tap < row.length; tap++) row[tap] /= sum; // a constant stays what it is, at every position
  }
  return { half, phases };
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Modified Bessel function of the first kind, order 0: its power series. */
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a, b) {
  return b === 0 ? a : gcd(b, a % b);
}
