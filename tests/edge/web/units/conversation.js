import { backoff, LONGEST } from "/web/core/backoff.js";
import { Conversation, STOP } from "/web/core/conversation.js";
import { Tail } from "/web/core/tail.js";
import { chance, equal, ok, test } from "./harness.js";

function begun(frames = 3) {
  const tail = new Tail();
  for (let frame = 0; frame < frames; frame++) tail.add(new Int16Array(480).fill(frame));
  return new Conversation(tail, 480);
}

function welcome(conversation, sample) {
  conversation.begin();
  return conversation.receive(JSON.stringify({ type: "connection_success", job_id: "j", next_sample: sample }));
}

function told(conversation, type, more = {}) {
  return conversation.receive(JSON.stringify({ type, ...more }));
}

function sent(conversation) {
  const all = [];
  for (let next = conversation.next(); next !== null; next = conversation.next()) {
    all.push(typeof next === "string" ? next : next[0]);
  }
  return all;
}

test("nothing is sent before the welcome, then all that there is", () => {
  const conversation = begun();
  equal(conversation.begin(), 0);
  equal(conversation.next(), null);
  welcome(conversation, 0);
  equal(sent(conversation), [0, 1, 2]);
  conversation.sound.add(new Int16Array(480).fill(3));
  equal(sent(conversation), [3]);
});

test("what has piled up goes out in long messages, what comes then at once", () => {
  const conversation = new Conversation(begun(5).sound, 960);
  welcome(conversation, 0);
  equal([conversation.next().length, conversation.next().length, conversation.next().length], [960, 960, 480]);
  conversation.sound.add(new Int16Array(480));
  equal([conversation.next().length, conversation.next()], [480, null]);
});

test("a new connection goes on where the server has the sound", () => {
  const conversation = begun();
  welcome(conversation, 0);
  sent(conversation);
  told(conversation, "ack", { samples: 480 });
  equal(conversation.ended(1006, "", 0.5).then, "again");
  equal(conversation.begin(), 480);
  welcome(conversation, 960);
  equal(sent(conversation), [2]);
});

test("stop is said once all is sent, and again on a new connection", () => {
  const conversation = begun(1);
  conversation.sound.over = true;
  welcome(conversation, 0);
  equal(sent(conversation), [0, STOP]);
  equal(sent(conversation), []);
  conversation.ended(1012, "", 0);
  welcome(conversation, 480);
  equal(sent(conversation), [STOP]);
});

test("the summary is the end", () => {
  const conversation = begun(0);
  welcome(conversation, 0);
  equal(told(conversation, "final_summary", { summary: null }).summary, null);
  equal(conversation.ended(1000, "", 0), { then: "done" });
});

test("a connection that breaks is opened again, later each time, until something is stored", () => {
  const conversation = begun();
  const waits = [1, 2, 3, 4, 5, 6, 7].map(() => conversation.ended(1006, "", 1).after);
  equal(waits, [0.2, 0.4, 0.8, 1.6, 3.2, LONGEST, LONGEST]);
  welcome(conversation, 0);
  equal(conversation.ended(1006, "", 1).after, LONGEST); // a welcome alone is no progress
  welcome(conversation, 0);
  sent(conversation);
  told(conversation, "ack", { samples: 480 });
  equal(conversation.ended(1006, "", 1).after, 0.2);
});

test("a server that is full is given the time that it asks for", () => {
  const conversation = begun();
  conversation.begin();
  told(conversation, "error", { code: "unavailable", message: "this server has 3 captures", retry_after: 7 });
  equal(conversation.ended(1013, "unavailable", 0), { then: "again", why: "this server has 3 captures", after: 7 });
  conversation.begin(); // what it said then is not said for ever
  equal(conversation.ended(1006, "", 0), { then: "again", why: "the connection broke", after: 0 });
});

test("waits are spread by chance", () => {
  const next = chance(5);
  const waits = Array.from({ length: 200 }, () => backoff(6, next()));
  ok(Math.min(...waits) < 1 && Math.max(...waits) > 4, "they fill the whole range");
  ok(
    waits.every((wait) => wait >= 0 && wait <= LONGEST),
    "and do not leave it",
  );
  equal(backoff(4_000, 1), LONGEST);
});

for (const [code, then] of [
  [1000, "closed"],
  [4004, "closed"],
  [4008, "closed"],
  [4009, "closed"],
  [1008, "failed"],
  [1009, "failed"],
  [4001, "failed"],
  [4010, "elsewhere"],
]) {
  test(`a connection that ends with ${code} is ${then}`, () => {
    const verdict = begun().ended(code, "because", 0);
    equal(verdict.then, then);
    ok(verdict.why, "there is a reason");
  });
}

test("audio that the server has lost needs another job", () => {
  const conversation = begun();
  conversation.begin();
  told(conversation, "error", { code: "gap", message: "sample 0 is expected next" });
  equal(conversation.ended(1008, "gap", 0), { then: "closed", why: "sample 0 is expected next" });
});

test("a connection that was given up may take the job once, another window keeps it", () => {
  const conversation = begun();
  welcome(conversation, 0);
  conversation.ended(1006, "", 0);
  welcome(conversation, 0);
  equal(conversation.ended(4010, "", 0).then, "again");
  welcome(conversation, 0);
  equal(conversation.ended(4010, "", 0).then, "elsewhere");
});

test("what is not a message is passed over", () => {
  const conversation = begun();
  for (const text of ["", "{", "[]", "null", "7", '"x"', "{}", '{"type":7}']) equal(conversation.receive(text), null);
  equal(told(conversation, "something_new", { a: 1 }), { type: "something_new", a: 1 });
});
