import { FileBuffer, LiveBuffer } from "/web/core/buffer.js";
import { chance, equal, ok, test } from "./harness.js";

function numbers(from, to) {
  return Int16Array.from({ length: to - from }, (_, n) => (from + n) % 30_000);
}

test("what is sent, acked and sent again is always the right sound", () => {
  const next = chance(11);
  const buffer = new LiveBuffer();
  let recorded = 0;
  for (let step = 0; step < 5_000; step++) {
    const dice = next();
    if (dice < 0.45) {
      const more = next() < 0.8 ? 480 : Math.floor(next() * 900);
      buffer.add(numbers(recorded, recorded + more));
      recorded += more;
    } else if (dice < 0.8) {
      const from = buffer.sent;
      const most = next() < 0.8 ? 480 : Math.floor(next() * 2_000) + 1;
      const pcm = buffer.take(most);
      if (from === recorded) ok(pcm === null, "all was sent already");
      else equal(pcm, numbers(from, Math.min(from + most, recorded)));
    } else if (dice < 0.95) {
      buffer.ack(Math.floor(buffer.acked + next() * (buffer.sent - buffer.acked)));
    } else {
      buffer.resume(Math.floor(buffer.acked + next() * (buffer.end - buffer.acked)));
    }
    ok(buffer.acked <= buffer.sent && buffer.sent <= buffer.end && buffer.end === recorded, "acked <= sent <= end");
  }
  ok(buffer.chunks.length < 600, `${buffer.chunks.length} chunks are still there`);
});

test("acked sound is dropped", () => {
  const buffer = new LiveBuffer();
  for (let frame = 0; frame < 4; frame++) buffer.add(numbers(480 * frame, 480 * (frame + 1)));
  buffer.take(1_920);
  buffer.ack(960);
  equal(
    buffer.chunks.map((chunk) => chunk?.start ?? null),
    [null, null, 960, 1_440],
  );
  buffer.ack(900); // an old one changes nothing
  equal(buffer.acked, 960);
});

test("the sound continues where a server has more than was stored", () => {
  const buffer = new LiveBuffer(1_000);
  buffer.add(numbers(1_000, 1_500));
  buffer.resume(1_700);
  equal([buffer.acked, buffer.sent, buffer.end], [1_700, 1_700, 1_700]);
  buffer.add(numbers(1_700, 1_800));
  equal(buffer.take(480), numbers(1_700, 1_800));
});

test("the next part begins with the remaining sound", () => {
  const buffer = new LiveBuffer();
  for (let frame = 0; frame < 5; frame++) buffer.add(numbers(480 * frame, 480 * (frame + 1)));
  buffer.take(2_000);
  buffer.ack(700);
  equal(buffer.rebase(1_000), 1_000);
  equal([buffer.acked, buffer.sent, buffer.end], [0, 0, 1_400]);
  equal(buffer.take(2_000), numbers(1_000, 2_400));
  buffer.ack(1_400);
  equal(buffer.rebase(), 1_400);
  equal([buffer.end, buffer.take(480)], [0, null]);
});

test("the next part begins neither before the ack nor behind the end", () => {
  const buffer = new LiveBuffer();
  buffer.add(numbers(0, 480));
  buffer.take(480);
  buffer.ack(300);
  equal(buffer.rebase(100), 300);
  equal(buffer.rebase(9_999), 180);
});

test("a file is sent in pieces, again from any sample", () => {
  const buffer = new FileBuffer(Float32Array.from({ length: 4_000 }, (_, n) => n / 32_767));
  equal(buffer.take(1_600), numbers(0, 1_600));
  equal(buffer.take(1_600), numbers(1_600, 3_200));
  buffer.resume(500);
  equal(buffer.take(1_600), numbers(500, 2_100));
  buffer.ack(1_000);
  buffer.resume(0); // the server would not ask for what it acked
  equal(buffer.take(100), numbers(1_000, 1_100));
  buffer.resume(3_000);
  equal([buffer.take(1_600).length, buffer.take(1_600), buffer.complete], [1_000, null, true]);
});

test("the next part begins with the rest of a file", () => {
  const buffer = new FileBuffer(Float32Array.from({ length: 1_000 }, (_, n) => n / 32_767));
  buffer.take(1_000);
  buffer.ack(300);
  equal(buffer.rebase(400), 400);
  equal([buffer.end, buffer.take(1_000)], [600, numbers(400, 1_000)]);
});
