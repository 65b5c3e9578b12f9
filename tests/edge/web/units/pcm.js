import { Framer, level, mixDown, toInt16, wav } from "/web/core/pcm.js";
import { chance, equal, near, test } from "./harness.js";

test("floats become 16-bit samples, and what is too loud is clipped", () => {
  equal(toInt16([0, 1, -1, 0.5, 1.7, -3, 1 / 65_536]), [0, 32_767, -32_767, 16_384, 32_767, -32_767, 0]);
});

test("frames of live sound have 960 bytes, and none is lost", () => {
  const next = chance(3);
  const framer = new Framer();
  const given = [];
  const frames = [];
  for (let count = 0; count < 400; count++) {
    const part = Int16Array.from({ length: Math.floor(next() * 300) }, () => Math.floor(next() * 65_536) - 32_768);
    given.push(...part);
    frames.push(...framer.push(part));
  }
  equal([...new Set(frames.map((frame) => frame.byteLength))], [960]);
  const rest = framer.rest();
  equal([...frames.flatMap((frame) => [...frame]), ...rest], given);
  equal(framer.rest(), []);
});

test("channels are mixed to their mean", () => {
  equal(mixDown([new Float32Array([1, 0, -1])]), [1, 0, -1]);
  equal(mixDown([new Float32Array([1, 0, -1]), new Float32Array([0, 0, 1])]), [0.5, 0, 0]);
});

test("a level is that of the loudest sample, and the mean power", () => {
  equal(level(new Int16Array(0)), { peak: 0, rms: 0 });
  const { peak, rms } = level(new Int16Array([16_384, -16_384]));
  near(peak, 0.5, 1e-9);
  near(rms, 0.5, 1e-9);
});

test("a WAV file is what the browser reads as such", async () => {
  const pcm = Int16Array.from({ length: 1_600 }, (_, n) => Math.round(10_000 * Math.sin(n / 5)));
  const decoded = await new OfflineAudioContext(1, 1, 16_000).decodeAudioData(wav(pcm, 16_000));
  equal([decoded.sampleRate, decoded.numberOfChannels, decoded.length], [16_000, 1, 1_600]);
  equal(
    Array.from(decoded.getChannelData(0), (value) => Math.round(value * 32_768)),
    pcm,
  );
});
