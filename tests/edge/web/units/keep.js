import { Keep } from "/web/capture/keep.js";
import { decode, FileError, LARGEST } from "/web/capture/file.js";
import { hold } from "/web/capture/lock.js";
import { wav } from "/web/core/wav.js";
import { equal, near, ok, test } from "./harness.js";

function entry(job, more = {}) {
  return {
    job,
    path: `/api/v1/stream/${job}`,
    kind: "live",
    options: { title: job },
    offset: 0,
    parts: [],
    acked: 0,
    over: false,
    at: 1,
    ...more,
  };
}

const samples = (...values) => Int16Array.from(values);

async function nothing() {
  const keep = await Keep.open();
  for (const { job } of await keep.unfinished()) await keep.end(job);
  return keep;
}

test("what is kept is there when the page is loaded again, without what was acked", async () => {
  const keep = await nothing();
  ok(keep.works, "a browser keeps things");
  await keep.begin(entry("a"));
  await keep.begin(entry("ab"));
  await keep.add("ab", 0, samples(9));
  await keep.add("a", 0, samples(1, 2));
  await keep.add("a", 2, samples(3, 4));
  await keep.add("a", 4, samples(5, 6));
  await keep.update(entry("a", { acked: 3 }));
  const again = await Keep.open();
  equal(
    (await again.unfinished()).map(({ job, acked }) => [job, acked]),
    [
      ["a", 3],
      ["ab", 0],
    ],
  );
  equal(await again.sound("a"), [
    { start: 2, pcm: [3, 4] },
    { start: 4, pcm: [5, 6] },
  ]);
  equal(await again.sound("ab"), [{ start: 0, pcm: [9] }]);
});

test("another job goes on with a recording, its sound and its file", async () => {
  const keep = await nothing();
  await keep.begin(entry("first"), new Blob(["sound"]));
  await keep.add("first", 0, samples(1, 2, 3));
  await keep.move("first", entry("second", { offset: 2, parts: ["first"] }), samples(3));
  equal(
    (await keep.unfinished()).map(({ job, parts }) => [job, parts]),
    [["second", ["first"]]],
  );
  equal([await keep.sound("first"), await keep.sound("second")], [[], [{ start: 0, pcm: [3] }]]);
  equal([await keep.file("first"), await (await keep.file("second")).text()], [null, "sound"]);
});

test("a recording that is finished is forgotten", async () => {
  const keep = await nothing();
  await keep.begin(entry("a"), new Blob(["sound"]));
  await keep.add("a", 0, samples(1));
  await keep.end("a");
  equal([await keep.unfinished(), await keep.sound("a"), await keep.file("a")], [[], [], null]);
});

test("a browser that keeps nothing does no harm", async () => {
  const keep = new Keep(null);
  await keep.begin(entry("a"));
  await keep.add("a", 0, samples(1));
  await keep.update(entry("a"));
  await keep.end("a");
  equal([keep.works, await keep.unfinished(), await keep.sound("a"), await keep.file("a")], [false, [], [], null]);
});

test("one window has a recording at a time", async () => {
  const release = await hold("a");
  ok(release, "it is free");
  equal(await hold("a"), null);
  release();
  ok(await hold("a"), "it is free again");
});

function tone(frequency, rate) {
  const pcm = Int16Array.from({ length: rate }, (_, n) =>
    Math.round(20_000 * Math.sin((2 * Math.PI * frequency * n) / rate)),
  );
  return new File([wav(pcm, rate)], "tone.wav", { type: "audio/wav" });
}

const power = (sound) =>
  Math.sqrt(sound.subarray(2_000, 14_000).reduce((sum, value) => sum + value * value, 0) / 12_000);

test("a file is heard at 16 kHz, and nothing is folded back into it", async () => {
  for (const rate of [8_000, 44_100, 48_000]) {
    const heard = await decode(tone(1_000, rate));
    equal(heard.length, 16_000);
    near(power(heard), 20_000 / 32_768 / Math.SQRT2, 0.005, `1 kHz at ${rate} Hz`);
  }
  const folded = power(await decode(tone(11_000, 48_000)));
  ok(folded < 1e-3, `11 kHz comes back at ${(20 * Math.log10(folded)).toFixed(1)} dB`);
});

for (const [name, file, says] of [
  [
    "is no sound",
    () => new File(["these are words"], "notes.txt"),
    /“notes.txt” has no sound that this browser can read.*WAV, MP3/,
  ],
  ["is empty", () => new File([], "empty.wav"), /“empty.wav” has no sound/],
  ["has no samples", () => new File([wav(new Int16Array(0), 16_000)], "none.wav"), /“none.wav” has no sound/],
  [
    "is too large",
    () => ({ name: "long.wav", size: LARGEST + 1 }),
    /“long.wav” has 1000 MB; up to 1000 MB are taken.*stenobus stream FILE/,
  ],
]) {
  test(`a file that ${name} is refused in a sentence`, async () => {
    try {
      await decode(file());
    } catch (error) {
      ok(error instanceof FileError && says.test(error.message), `${error.name}: ${error.message}`);
      return;
    }
    throw new Error("it was taken");
  });
}
