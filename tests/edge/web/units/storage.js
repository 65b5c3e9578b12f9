import { decode, FileError, MAX_BYTES } from "/web/capture/file.js";
import { lockJob, Store, StoredRecording } from "/web/capture/storage.js";
import { wav } from "/web/core/pcm.js";
import { equal, near, ok, test } from "./harness.js";

function entry(job, more = {}) {
  return {
    job,
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

async function emptyStore() {
  const store = await Store.open();
  for (const { job } of await store.recordings()) await store.remove(job);
  return store;
}

test("what is stored survives a reload, without what was acked", async () => {
  const store = await emptyStore();
  ok(store.available, "the browser stores things");
  await store.add(entry("a"));
  await store.add(entry("ab"));
  await store.addSound(entry("ab"), 0, samples(9));
  await store.addSound(entry("a"), 0, samples(1, 2));
  await store.addSound(entry("a"), 2, samples(3, 4));
  await store.addSound(entry("a"), 4, samples(5, 6));
  await store.update(entry("a", { acked: 3 }));
  const again = await Store.open();
  equal(
    (await again.recordings()).map(({ job, acked }) => [job, acked]),
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

test("another job continues a recording, with its sound and its file", async () => {
  const store = await emptyStore();
  await store.add(entry("first"), new Blob(["sound"]));
  await store.addSound(entry("first"), 0, samples(1, 2, 3));
  await store.move("first", entry("second", { offset: 2, parts: ["first"] }), samples(3));
  equal(
    (await store.recordings()).map(({ job, parts }) => [job, parts]),
    [["second", ["first"]]],
  );
  equal([await store.sound("first"), await store.sound("second")], [[], [{ start: 0, pcm: [3] }]]);
  equal([await store.file("first"), await (await store.file("second")).text()], [null, "sound"]);
});

test("a finished recording is deleted", async () => {
  const store = await emptyStore();
  await store.add(entry("a"), new Blob(["sound"]));
  await store.addSound(entry("a"), 0, samples(1));
  await store.remove("a");
  equal([await store.recordings(), await store.sound("a"), await store.file("a")], [[], [], null]);
});

test("a browser that stores nothing does no harm", async () => {
  const store = new Store();
  await store.add(entry("a"));
  await store.addSound(entry("a"), 0, samples(1));
  await store.update(entry("a"));
  await store.remove("a");
  equal(store.available, false);
  equal([await store.recordings(), await store.sound("a"), await store.file("a")], [[], [], null]);
});

test("one window has a recording at a time", async () => {
  const release = await lockJob("a");
  ok(release, "it is free");
  equal(await lockJob("a"), null);
  release();
  ok(await lockJob("a"), "it is free again");
});

function tone(frequency, rate) {
  const pcm = Int16Array.from({ length: rate }, (_, n) =>
    Math.round(20_000 * Math.sin((2 * Math.PI * frequency * n) / rate)),
  );
  return new File([wav(pcm, rate)], "tone.wav", { type: "audio/wav" });
}

const power = (sound) =>
  Math.sqrt(sound.subarray(2_000, 14_000).reduce((sum, value) => sum + value * value, 0) / 12_000);

test("a file is decoded at 16 kHz without aliasing", async () => {
  for (const rate of [8_000, 44_100, 48_000]) {
    const [{ samples: sound }] = await decode(tone(1_000, rate));
    equal(sound.length, 16_000);
    near(power(sound), 20_000 / 32_768 / Math.SQRT2, 0.005, `1 kHz at ${rate} Hz`);
  }
  const [{ samples }] = await decode(tone(11_000, 48_000));
  const aliased = power(samples);
  ok(aliased < 1e-3, `11 kHz comes back at ${(20 * Math.log10(aliased)).toFixed(1)} dB`);
});

test("a file that is sent continues with the channel that was chosen", async () => {
  const store = await emptyStore();
  const view = new DataView(wav(Int16Array.from({ length: 3_200 }, (_, index) => (index % 2 ? 8_000 : 0)), 16_000));
  view.setUint16(22, 2, true); // two channels, of which the left one is silent
  view.setUint32(28, 64_000, true);
  view.setUint16(32, 4, true);
  const choice = { track: null, channel: "right" };
  await store.add(entry("stereo", { kind: "upload", choice }), new File([view.buffer], "talk.wav"));
  const [found] = await store.recordings();
  const sound = await new StoredRecording(store, "upload", {}).restore(found);
  equal(sound.end, 1_600);
  near(sound.take(10)[5], 8_000, 2);
  await store.remove("stereo");
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
    () => ({ name: "long.wav", size: MAX_BYTES + 1 }),
    /“long.wav” has 1000 MB; at most 1000 MB are accepted here.*stenobus stream FILE/,
  ],
]) {
  test(`a file that ${name} is refused in a sentence`, async () => {
    try {
      await decode(file());
    } catch (error) {
      ok(error instanceof FileError && says.test(error.message), `${error.name}: ${error.message}`);
      return;
    }
    throw new Error("it was accepted");
  });
}
