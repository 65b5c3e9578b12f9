import { Gaps } from "/web/core/gaps.js";
import { equal, ok, test } from "./harness.js";

const FRAME = 480; // 30 ms

/** A microphone by its two clocks; gives what `frame` gives for a frame this many milliseconds after the last one. */
function microphone() {
  let recorded = 1_700_000_000_000;
  let received = 500;
  const gaps = new Gaps(received);
  return {
    gaps,
    frame: (audio = 30, page = audio) => gaps.frame(FRAME, (recorded += audio), (received += page)),
    look: (page = 1_000) => gaps.look((received += page)),
    audio: (milliseconds) => (recorded += milliseconds),
  };
}

/** Look once a second for some seconds; gives all the silence. */
function looks(source, seconds) {
  let silence = 0;
  for (let second = 0; second < seconds; second++) silence += source.look().silence;
  source.audio(seconds * 1_000);
  return silence;
}

test("frames that come one after the other, early or late, have no gaps", () => {
  const source = microphone();
  equal(source.frame(4_000), { silence: 0, lost: 0 }); // it takes its time to start
  for (const wait of [30, 0, 0, 90, 400, 0, 900, 10]) equal(source.frame(wait), { silence: 0, lost: 0 });
});

test("a gap is silence, to the millisecond", () => {
  const source = microphone();
  source.frame();
  equal(source.frame(5_030), { silence: 80_000, lost: 0 });
  equal(source.frame(), { silence: 0, lost: 0 });
});

test("frames that waited for a busy page are no gap", () => {
  const source = microphone();
  source.frame();
  equal(source.look(20_000), { silence: 0, lost: 0 });
  equal(source.frame(30, 0), { silence: 0, lost: 0 });
  for (let frame = 0; frame < 600; frame++) equal(source.frame(30, 0), { silence: 0, lost: 0 });
});

test("a clock that is set is no gap", () => {
  const source = microphone();
  source.frame();
  equal(source.frame(300_030, 30), { silence: 0, lost: 0 });
  equal(source.frame(-300_000, 30), { silence: 0, lost: 0 });
});

test("a gap is filled while it lasts, from ten seconds on, and the rest when sound is back", () => {
  const source = microphone();
  source.frame();
  equal(looks(source, 9), 0);
  equal(looks(source, 1), 160_000);
  equal(looks(source, 30 * 60), 30 * 60 * 16_000);
  const { silence, lost } = source.frame(530);
  equal([silence, lost], [8_000, 0]);
  equal(source.frame(), { silence: 0, lost: 0 });
});

test("a microphone that never gave anything is filled too", () => {
  const source = microphone();
  equal(looks(source, 12), 192_000);
  ok(source.gaps.stalled(12_500), "it is stalled");
  equal(source.frame(1_030).silence, 16_000);
  ok(!source.gaps.stalled(13_600), "it is not stalled any more");
});

test("hours of sleep are lost, and told", () => {
  const hours = 3 * 3_600_000;
  const both = microphone();
  both.frame();
  equal(both.frame(hours), { silence: 0, lost: hours });
  equal(both.frame(), { silence: 0, lost: 0 });
  const pageStood = microphone(); // some browsers stop the clock of the page meanwhile
  pageStood.frame();
  equal(pageStood.frame(hours, 30), { silence: 0, lost: hours });
  const stalled = microphone();
  stalled.frame();
  equal(stalled.look(hours), { silence: 0, lost: 0 }); // frames may still wait
  equal(stalled.look(), { silence: 0, lost: hours + 1_000 });
  equal(looks(stalled, 10), 160_000);
});
