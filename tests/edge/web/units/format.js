import * as format from "/web/core/format.js";
import { sentence, socketUrl } from "/web/api.js";
import { equal, ok, test } from "./harness.js";

test("times and lengths", () => {
  equal([0, 7.9, 61, 754, 3_723, -1].map(format.clock), ["0:00", "0:07", "1:01", "12:34", "1:02:03", "0:00"]);
  equal([3.4, 59.4, 90, 3_600, 3_900].map(format.length), ["3 s", "59 s", "2 min", "1 h", "1 h 5 min"]);
  equal([0, 12.4, 12.49, 0.3, 59.99].map(format.tenths), ["0.0 s", "12.4 s", "12.4 s", "0.3 s", "59.9 s"]);
  equal([0, 640_000, 12_400_000].map(format.size), ["0 kB", "640 kB", "12 MB"]);
});

test("a day is called as a person would", () => {
  const now = new Date(2026, 2, 10, 9, 0);
  const at = (...parts) => format.moment(new Date(...parts).toISOString(), now, "en-GB");
  equal(at(2026, 2, 10, 0, 5), "Today, 0:05");
  equal(at(2026, 2, 9, 23, 59), "Yesterday, 23:59");
  equal(at(2026, 0, 2, 12, 0), "2 Jan, 12:00");
  equal(at(2025, 11, 31, 12, 0), "31 Dec 2025, 12:00");
  equal(format.moment("not a date", now), "");
});

test("who wrote the summary is told, and why nobody did", () => {
  equal(format.author({ engine: "ollama", model: "gemma3" }), "Written by gemma3 on this server.");
  equal(
    format.author({ engine: "extractive", reason: "connection refused" }),
    "Sentences chosen from the transcript: no language model was available (connection refused).",
  );
});

test("words of a search are marked, as plain text", () => {
  const hits = (text, query) =>
    format
      .marked(text, query)
      .filter(({ hit }) => hit)
      .map((part) => part.text);
  equal(hits("The Contract is blocked. contract!", "contract BLOCK"), ["Contract", "block", "contract"]);
  equal(hits("1 + 1 (really)", "( +"), ["+", "("]);
  equal(hits("다음 회의는", "회의"), ["회의"]);
  equal(hits("Le Café, un ＣＡＦÉ", "cafe"), ["Café", "ＣＡＦÉ"]);
  equal(hits("ｶﾞｽの料金とカス", "ガス"), ["ｶﾞｽ"]);
  equal(hits("한국의 하늘", "하"), ["하"]);
  equal(hits("İstanbul Isparta ısparta", "istanbul ISPARTA"), ["İstanbul", "Isparta", "ısparta"]);
  equal(hits("Straße, don\u2019t, Łódź, ΣΊΣΥΦΟΣ", "strasse don't lodz σισυφος"), ["Straße", "don\u2019t", "Łódź", "ΣΊΣΥΦΟΣ"]);
  equal(format.marked("", "x"), []);
  equal(format.marked("as it is", "  "), [{ text: "as it is", hit: false }]);
  equal(
    format
      .marked("aXbX", "x")
      .map(({ text }) => text)
      .join(""),
    "aXbX",
  );
});

test("languages have names", () => {
  equal(format.languageName("ko", "en"), "Korean");
  equal(format.languageName("!!"), "!!");
  const choices = format.languageChoices("en");
  ok(
    choices.every(([code, name]) => code && name),
    "each has both",
  );
  ok(
    choices.findIndex(([code]) => code === "af") < choices.findIndex(([code]) => code === "zu" || code === "yo"),
    "by name",
  );
});

test("the socket is at the server that the page came from", () => {
  const ws = location.origin.replace("http", "ws");
  equal(socketUrl("a/b", 480), `${ws}/api/v1/stream/a%2Fb?sample=480`);
});

test("what a server says becomes a sentence", () => {
  equal(sentence("the bus does not answer"), "The bus does not answer.");
  equal(sentence("Why?"), "Why?");
});
