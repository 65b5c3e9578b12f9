import { Tail } from "/web/core/tail.js";
import { Upload } from "/web/core/upload.js";
import { chance, equal, ok, test } from "./harness.js";

function numbers(from, to) {
  return Int16Array.from({ length: to - from }, (_, n) => (from + n) % 30_000);
}

test("what is sent, acked and sent again is always the sound that it is", () => {
  const next = chance(11);
  const tail = new Tail();
  let heard = 0;
  for (let step = 0; step < 5_000; step++) {
    const dice = next();
    if (dice < 0.45) {
      const more = next() < 0.8 ? 480 : Math.floor(next() * 900);
      tail.add(numbers(heard, heard + more));
      heard += more;
    } else if (dice < 0.8) {
      const from = tail.sent;
      const most = next() < 0.8 ? 480 : Math.floor(next() * 2_000) + 1;
      const pcm = tail.take(most);
      if (from === heard) ok(pcm === null, "all was sent already");
      else equal(pcm, numbers(from, Math.min(from + most, heard)));
    } else if (dice < 0.95) {
      tail.ack(Math.floor(tail.acked + next() * (tail.sent - tail.acked)));
    } else {
      tail.resume(Math.floor(tail.acked + next() * (tail.end - tail.acked)));
    }
    ok(tail.acked <= tail.sent && tail.sent <= tail.end && tail.end === heard, "acked <= sent <= end");
  }
  ok(tail.chunks.length < 600, `${tail.chunks.length} chunks are still there`);
});

test("sound below an ack is not kept", () => {
  const tail = new Tail();
  for (let frame = 0; frame < 4; frame++) tail.add(numbers(480 * frame, 480 * (frame + 1)));
  tail.take(1_920);
  tail.ack(960);
  equal(
    tail.chunks.map((chunk) => chunk?.start ?? null),
    [null, null, 960, 1_440],
  );
  tail.ack(900); // an old one changes nothing
  equal(tail.acked, 960);
});

test("a server that has more than was kept goes on from there", () => {
  const tail = new Tail(1_000);
  tail.add(numbers(1_000, 1_500));
  tail.resume(1_700);
  equal([tail.acked, tail.sent, tail.end], [1_700, 1_700, 1_700]);
  tail.add(numbers(1_700, 1_800));
  equal(tail.take(480), numbers(1_700, 1_800));
});

test("the next part begins with what the last one did not get", () => {
  const tail = new Tail();
  for (let frame = 0; frame < 5; frame++) tail.add(numbers(480 * frame, 480 * (frame + 1)));
  tail.take(2_000);
  tail.ack(700);
  equal(tail.rebase(1_000), 1_000);
  equal([tail.acked, tail.sent, tail.end], [0, 0, 1_400]);
  equal(tail.take(2_000), numbers(1_000, 2_400));
  tail.ack(1_400);
  equal(tail.rebase(), 1_400);
  equal([tail.end, tail.take(480)], [0, null]);
});

test("nothing before an ack can be had for the next part, nor behind the end", () => {
  const tail = new Tail();
  tail.add(numbers(0, 480));
  tail.take(480);
  tail.ack(300);
  equal(tail.rebase(100), 300);
  equal(tail.rebase(9_999), 180);
});

test("a file is given in pieces, from any sample again", () => {
  const upload = new Upload(Float32Array.from({ length: 4_000 }, (_, n) => n / 32_767));
  equal(upload.take(1_600), numbers(0, 1_600));
  equal(upload.take(1_600), numbers(1_600, 3_200));
  upload.resume(500);
  equal(upload.take(1_600), numbers(500, 2_100));
  upload.ack(1_000);
  upload.resume(0); // the server would not ask for what it acked
  equal(upload.take(100), numbers(1_000, 1_100));
  upload.resume(3_000);
  equal([upload.take(1_600).length, upload.take(1_600), upload.over], [1_000, null, true]);
});

test("the rest of a file is the sound of the next part", () => {
  const upload = new Upload(Float32Array.from({ length: 1_000 }, (_, n) => n / 32_767));
  upload.take(1_000);
  upload.ack(300);
  equal(upload.rebase(400), 400);
  equal([upload.end, upload.take(1_000)], [600, numbers(400, 1_000)]);
});
