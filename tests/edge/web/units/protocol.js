import { LiveBuffer } from "/web/core/buffer.js";
import { backoff, CaptureProtocol, MAX_DELAY, STOP } from "/web/core/protocol.js";
import { chance, equal, ok, test } from "./harness.js";

function started(frames = 3) {
  const buffer = new LiveBuffer();
  for (let frame = 0; frame < frames; frame++) buffer.add(new Int16Array(480).fill(frame));
  return new CaptureProtocol(buffer, 480);
}

function welcome(protocol, sample) {
  protocol.begin();
  return protocol.receive(JSON.stringify({ type: "connection_success", job_id: "j", next_sample: sample }));
}

function receive(protocol, type, more = {}) {
  return protocol.receive(JSON.stringify({ type, ...more }));
}

function sent(protocol) {
  const all = [];
  for (let next = protocol.next(); next !== null; next = protocol.next()) {
    all.push(typeof next === "string" ? next : next[0]);
  }
  return all;
}

test("nothing is sent before the server accepts, then everything", () => {
  const protocol = started();
  equal(protocol.begin(), 0);
  equal(protocol.next(), null);
  welcome(protocol, 0);
  equal(sent(protocol), [0, 1, 2]);
  protocol.sound.add(new Int16Array(480).fill(3));
  equal(sent(protocol), [3]);
});

test("a backlog is sent in long messages, new sound at once", () => {
  const protocol = new CaptureProtocol(started(5).sound, 960);
  welcome(protocol, 0);
  equal([protocol.next().length, protocol.next().length, protocol.next().length], [960, 960, 480]);
  protocol.sound.add(new Int16Array(480));
  equal([protocol.next().length, protocol.next()], [480, null]);
});

test("a new connection continues where the server's sound ends", () => {
  const protocol = started();
  welcome(protocol, 0);
  sent(protocol);
  receive(protocol, "ack", { samples: 480 });
  equal(protocol.closed(1006, "", 0.5).outcome, "retry");
  equal(protocol.begin(), 480);
  welcome(protocol, 960);
  equal(sent(protocol), [2]);
});

test("stop is sent after all sound, and again on a new connection", () => {
  const protocol = started(1);
  protocol.sound.complete = true;
  welcome(protocol, 0);
  equal(sent(protocol), [0, STOP]);
  equal(sent(protocol), []);
  protocol.closed(1012, "", 0);
  welcome(protocol, 480);
  equal(sent(protocol), [STOP]);
});

test("the summary is the end", () => {
  const protocol = started(0);
  welcome(protocol, 0);
  equal(receive(protocol, "final_summary", { summary: null }).summary, null);
  equal(protocol.closed(1000, "", 0), { outcome: "done" });
});

test("reconnecting backs off until something is stored", () => {
  const protocol = started();
  const waits = [1, 2, 3, 4, 5, 6, 7].map(() => protocol.closed(1006, "", 1).after);
  equal(waits, [0.2, 0.4, 0.8, 1.6, 3.2, MAX_DELAY, MAX_DELAY]);
  welcome(protocol, 0);
  equal(protocol.closed(1006, "", 1).after, MAX_DELAY); // being accepted is no progress
  welcome(protocol, 0);
  sent(protocol);
  receive(protocol, "ack", { samples: 480 });
  equal(protocol.closed(1006, "", 1).after, 0.2);
});

test("a full server is asked again after the time that it names", () => {
  const protocol = started();
  protocol.begin();
  receive(protocol, "error", { code: "unavailable", message: "this server has 3 captures", retry_after: 7 });
  equal(protocol.closed(1013, "unavailable", 0), { outcome: "retry", reason: "this server has 3 captures", after: 7 });
  protocol.begin(); // the error of the earlier connection is not repeated
  equal(protocol.closed(1006, "", 0), { outcome: "retry", reason: "the connection broke", after: 0 });
});

test("delays are random", () => {
  const next = chance(5);
  const waits = Array.from({ length: 200 }, () => backoff(6, next()));
  ok(Math.min(...waits) < 1 && Math.max(...waits) > 4, "they fill the whole range");
  ok(
    waits.every((wait) => wait >= 0 && wait <= MAX_DELAY),
    "and do not leave it",
  );
  equal(backoff(4_000, 1), MAX_DELAY);
});

for (const [code, outcome] of [
  [1000, "closed"],
  [4004, "closed"],
  [4008, "closed"],
  [4009, "closed"],
  [1008, "failed"],
  [1009, "failed"],
  [4001, "failed"],
  [4010, "elsewhere"],
]) {
  test(`a connection that ends with ${code} is ${outcome}`, () => {
    const end = started().closed(code, "because", 0);
    equal(end.outcome, outcome);
    ok(end.reason, "there is a reason");
  });
}

test("sound that the server has lost needs another job", () => {
  const protocol = started();
  protocol.begin();
  receive(protocol, "error", { code: "gap", message: "sample 0 is expected next" });
  equal(protocol.closed(1008, "gap", 0), { outcome: "closed", reason: "sample 0 is expected next" });
});

test("a connection that was given up may take the job over once, another window for good", () => {
  const protocol = started();
  welcome(protocol, 0);
  protocol.closed(1006, "", 0);
  welcome(protocol, 0);
  equal(protocol.closed(4010, "", 0).outcome, "retry");
  welcome(protocol, 0);
  equal(protocol.closed(4010, "", 0).outcome, "elsewhere");
});

test("unreadable messages are ignored", () => {
  const protocol = started();
  for (const text of ["", "{", "[]", "null", "7", '"x"', "{}", '{"type":7}']) equal(protocol.receive(text), null);
  equal(receive(protocol, "something_new", { a: 1 }), { type: "something_new", a: 1 });
});
