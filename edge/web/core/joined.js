/**
 * Files that were joined, and WAV files whose header is wrong about their length: browsers read the first part, or what
 * the header promises. Pure. As `audio/links.py`, which says where the formats are described.
 */

const OGG = "OggS";
const OGG_HEAD = 27;
const OGG_FIRST = 2;

/** A WAV header with a length from here on does not know it. */
const ENDLESS = 0x7fff0000;
/** Bytes. Fewer behind the samples are no sound. */
const TAIL = 256;
/** Bytes. What looks like a longer chunk is sound. */
const LONGEST = 1 << 24;

/** The parts of a file: { parts, told }, one Uint8Array for each, and sentences about what is unusual. */
export function partsOf(bytes) {
  const kind = tag(bytes, 0);
  if (kind === OGG) return { parts: oggParts(bytes), told: [] };
  if (kind === "RIFF" && tag(bytes, 8) === "WAVE") return wavParts(bytes);
  if (kind === "fLaC") return { parts: flacParts(bytes), told: [] };
  return { parts: [bytes], told: [] };
}

function oggParts(bytes) {
  const starts = [];
  let beginning = false;
  let at = 0;
  while (at + OGG_HEAD <= bytes.length) {
    if (tag(bytes, at) !== OGG) {
      at++; // damage
      continue;
    }
    const first = Boolean(bytes[at + 5] & OGG_FIRST);
    if (first && !beginning) starts.push(at);
    beginning = first;
    const table = bytes.subarray(at + OGG_HEAD, at + OGG_HEAD + bytes[at + 26]);
    const next = at + OGG_HEAD + table.length + table.reduce((sum, size) => sum + size, 0);
    at = next >= bytes.length || tag(bytes, next) === OGG ? next : at + OGG_HEAD; // else this page was cut off
  }
  return cut(bytes, starts);
}

/** A file begins with the marker and a block of metadata that has 34 bytes. */
function flacParts(bytes) {
  const starts = [];
  for (let at = bytes.indexOf(0x66); at >= 0; at = bytes.indexOf(0x66, at + 1)) {
    if (tag(bytes, at) !== "fLaC" || (bytes[at + 4] & 0x7f) !== 0) continue;
    if (bytes[at + 5] === 0 && bytes[at + 6] === 0 && bytes[at + 7] === 34) starts.push(at);
  }
  return cut(bytes, starts);
}

function wavParts(bytes) {
  const parts = [];
  const told = [];
  let start = 0;
  while (tag(bytes, start) === "RIFF") {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    let [at, rate] = [start + 12, 1];
    while (isChunk(bytes, at) && tag(bytes, at) !== "data") {
      if (tag(bytes, at) === "fmt " && at + 20 <= bytes.length) rate = view.getUint32(at + 16, true) || 1;
      const size = view.getUint32(at + 4, true);
      at += 8 + size + (size % 2);
    }
    if (tag(bytes, at) !== "data" || at + 8 > bytes.length) break;
    const promised = view.getUint32(at + 4, true);
    const samples = at + 8;
    let end = Math.min(samples + promised, bytes.length);
    let next = end;
    if (samples + promised > bytes.length) {
      if (promised < ENDLESS) told.push(cutOff(promised / rate, (end - samples) / rate));
    } else {
      if (promised % 2 && bytes[next] === 0 && (next + 1 === bytes.length || isChunk(bytes, next + 1))) next++;
      while (isChunk(bytes, next) && tag(bytes, next) !== "RIFF") {
        const size = view.getUint32(next + 4, true);
        next += 8 + size + (size % 2);
      }
      if (tag(bytes, next) !== "RIFF" && bytes.length - next >= TAIL) {
        end = next = bytes.length;
        const lengths = `${(promised / rate).toFixed(1)} s, but there are ${((end - samples) / rate).toFixed(1)} s`;
        told.push(`The header of the file promises ${lengths}: all were taken.`);
      }
    }
    const part = bytes.slice(start, end);
    new DataView(part.buffer).setUint32(samples - start - 4, end - samples, true);
    parts.push(part);
    start = next;
  }
  return { parts: parts.length ? parts : [bytes], told };
}

/** The sentence about a file that ends early; lengths in seconds. */
export function cutOff(promised, there) {
  return `The file is cut off: its header promises ${promised.toFixed(1)} s, and ${there.toFixed(1)} s are there.`;
}

/** Whether a chunk of a WAV file begins here, not samples. */
function isChunk(bytes, at) {
  const kind = tag(bytes, at);
  if (at + 8 > bytes.length || !/^[A-Za-z_][A-Za-z0-9_ ]{3}$/.test(kind)) return false;
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 4, true);
  return ["RIFF", "data"].includes(kind) || size < LONGEST;
}

function tag(bytes, at) {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

function cut(bytes, starts) {
  if (starts.length < 2) return [bytes];
  return starts.map((start, index) => bytes.slice(index ? start : 0, starts[index + 1]));
}
