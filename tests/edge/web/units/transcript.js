import { lineAt, timedWords, Transcript } from "/web/core/transcript.js";
import { chance, equal, test } from "./harness.js";

function segment(index, text = `Sentence ${index}.`, more = {}) {
  return { index, start: 2 * index, end: 2 * index + 1.5, text, ...more };
}

function texts(transcript) {
  return transcript.lines.map((line) => line.text);
}

test("finals are in order, whatever the order in which they come", () => {
  const next = chance(1);
  const transcript = new Transcript();
  const shuffled = Array.from({ length: 50 }, (_, index) => [next(), index]).sort((a, b) => a[0] - b[0]);
  for (const [, index] of shuffled) equal(transcript.final(segment(index)), "added");
  equal(
    texts(transcript),
    Array.from({ length: 50 }, (_, index) => `Sentence ${index}.`),
  );
});

test("repeated finals appear once", () => {
  const transcript = new Transcript();
  for (const index of [0, 1, 2]) transcript.final(segment(index));
  for (const index of [0, 1, 2]) equal(transcript.final(segment(index, "repeated")), null);
  equal(texts(transcript), ["Sentence 0.", "Sentence 1.", "Sentence 2."]);
});

test("a good final replaces a failed one, never the other way round", () => {
  const transcript = new Transcript();
  const failed = segment(0, "", { error: "out of memory" });
  equal(transcript.final(failed), "added");
  equal(transcript.final(failed), null);
  equal(transcript.final(segment(0)), "replaced");
  equal(transcript.final(failed), null);
  equal(texts(transcript), ["Sentence 0."]);
});

test("the finished job's texts replace those of its own part", () => {
  const transcript = new Transcript();
  for (const index of [0, 1]) transcript.final(segment(index));
  transcript.nextPart(10);
  for (const index of [0, 1]) transcript.final(segment(index));
  const kept = transcript.lines[2];
  transcript.finish([segment(0), segment(1, "Better."), segment(2, "Late.")]);
  equal(texts(transcript), ["Sentence 0.", "Sentence 1.", "Sentence 0.", "Better.", "Late."]);
  equal([transcript.lines[2] === kept, transcript.lines[3].start, transcript.lines[4].start], [true, 12, 14]);
});

test("the next part counts from 0 again, later in time", () => {
  const transcript = new Transcript();
  transcript.final(segment(0));
  transcript.final(segment(1));
  transcript.nextPart(10);
  equal(transcript.final(segment(0, "After the break.")), "added");
  equal(texts(transcript), ["Sentence 0.", "Sentence 1.", "After the break."]);
  equal(transcript.lines[2].start, 10);
});

test("what is being said is shown until its final comes", () => {
  const transcript = new Transcript();
  transcript.speech(4);
  equal(transcript.open, [{ start: 4, text: "", stable: 0 }]);
  transcript.partial({ start: 4, text: "The next", stable: 3 });
  transcript.speech(4); // repeated
  equal(transcript.open, [{ start: 4, text: "The next", stable: 3 }]);
  transcript.partial({ start: 6, text: "I", stable: 0 });
  transcript.final(segment(2));
  equal(transcript.open, [{ start: 6, text: "I", stable: 0 }]);
  transcript.close();
  equal(transcript.open, []);
});

test("a guess that comes after its final is not shown", () => {
  const transcript = new Transcript();
  transcript.final(segment(2));
  transcript.partial({ start: 4, text: "Sentence", stable: 0 });
  transcript.speech(4);
  equal(transcript.open, []);
});

test("the line that is heard is found by its time", () => {
  const { lines } = [0, 1, 2].reduce(
    (transcript, index) => (transcript.final(segment(index)), transcript),
    new Transcript(),
  );
  equal(
    [-1, 0, 1.9, 2, 3.9, 4, 99].map((time) => lineAt(lines, time)),
    [-1, 0, 0, 1, 1, 2, 2],
  );
  equal(lineAt([], 1), -1);
});

test("a text is cut into its words", () => {
  const words = (...all) => all.map((word, n) => ({ word, start: n, end: n + 1 }));
  const cut = timedWords("“Well, well,” he said.", words(" “Well,", " well,”", " he", " said"));
  equal(cut.map(({ gap, text }) => gap + text).join(""), "“Well, well,” he said.");
  equal(
    cut.map(({ text }) => text),
    ["“Well,", "well,”", "he", "said."],
  );
  equal(
    timedWords("다음 회의는", words("다음", "회의", "는")).map(({ gap, text }) => [gap, text]),
    [
      ["", "다음"],
      [" ", "회의"],
      ["", "는"],
    ],
  );
  equal(timedWords("Something else.", words("Other", "words")), null);
  equal(timedWords("No words.", []), null);
  equal(timedWords("One two three.", words("One", "three.")), null);
  equal(timedWords("One two", words("One")), null);
  equal(timedWords("", words("")), null);
});
