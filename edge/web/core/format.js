/** Times, dates, states, languages and figures as people read them. Pure. */

/** Seconds as 0:07, 12:34 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Seconds as a length: 34 s, 12 min, 1 h 5 min. */
export function length(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/** Seconds with a tenth: 12.4 s. */
export function tenths(seconds) {
  return `${(Math.floor(seconds * 10 + 1e-6) / 10).toFixed(1)} s`;
}

/** A date and time: the time if it is today or yesterday, else with the day; text: ISO 8601. */
export function moment(text, now = new Date(), locale = undefined) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return "";
  const time = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" }).format(date);
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return `Today, ${time}`;
  if (days === 1) return `Yesterday, ${time}`;
  const sameYear = date.getFullYear() === now.getFullYear();
  const day = new Intl.DateTimeFormat(locale, {
    day: "numeric",
    month: "short",
    year: sameYear ? undefined : "numeric",
  });
  return `${day.format(date)}, ${time}`;
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** Bytes as 640 kB or 12 MB. */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${Math.round(bytes / 1e6)} MB`;
}

const STATES = {
  created: "Not started",
  streaming: "Live",
  transcribing: "Transcribing",
  summarizing: "Summarizing",
  completed: "Finished",
  failed: "Failed",
  deleted: "Deleted",
};

/** A job's state as one word. */
export function stateName(state) {
  return STATES[state] ?? state;
}

/** Whether a job will still change. */
export function isLive(state) {
  return ["created", "streaming", "transcribing", "summarizing"].includes(state);
}

/** Who wrote a summary, as a sentence. */
export function author({ engine, model, reason }) {
  if (engine === "ollama") return `Written by ${model ?? "a language model"} on this server.`;
  const because = reason ? ` (${reason})` : "";
  return `Sentences chosen from the transcript: no language model was available${because}.`;
}

/** Parts of a text, { text, hit }; hit: the part is a word of the search, as the server compares them. */
export function marked(text, query) {
  const letters = graphemes(text);
  const folded = letters.map(fold);
  const line = folded.join("");
  const owner = folded.flatMap((part, index) => Array(part.length).fill(index));
  const hits = new Set();
  for (const word of fold(query).split(/\s+/).filter(Boolean)) {
    for (let at = line.indexOf(word); at >= 0; at = line.indexOf(word, at + word.length)) {
      owner.slice(at, at + word.length).forEach((index) => hits.add(index));
    }
  }
  const parts = [];
  letters.forEach((letter, index) => {
    const hit = hits.has(index);
    if (parts.at(-1)?.hit === hit) parts.at(-1).text += letter;
    else parts.push({ text: letter, hit });
  });
  return parts;
}

function graphemes(text) {
  if (!Intl.Segmenter) return [...text];
  return [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)].map(({ segment }) => segment);
}

const TYPED = { "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe" };
Object.assign(TYPED, { "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"' });
Object.assign(TYPED, { "\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": "-" });

/** Text without case, accents, width and invisible characters: see store/search.py. */
function fold(text) {
  return text
    .normalize("NFKD")
    .toUpperCase() // ß becomes SS, ı becomes I
    .toLowerCase()
    .normalize("NFKD")
    .replace(/[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\p{Cf}]/gu, "")
    .replace(/ς/g, "σ")
    .replace(/[łøđħŧæœ\u2018\u2019\u201c\u201d\u2010\u2011\u2013\u2014]/g, (letter) => TYPED[letter])
    .normalize("NFC");
}

const CODES =
  "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy " +
  "id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa " +
  "sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh";

export const LANGUAGES = CODES.split(" ");

/** A language's name in the language of the reader, or its code if the browser does not know it. */
export function languageName(code, locale) {
  try {
    return new Intl.DisplayNames(locale ? [locale] : undefined, { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

/** [code, name] of all languages, sorted by name. */
export function languageChoices(locale) {
  return LANGUAGES.map((code) => [code, languageName(code, locale)]).sort((a, b) => a[1].localeCompare(b[1], locale));
}

/** Fields that say where in a job something is, and not what was found. */
const BOOKKEEPING = new Set(["job", "job_id", "final", "generation", "index", "segments", "failed", "until"]);

/** The value of a field as text; null if it is not shown; "" for objects and lists, which are shown in parts. */
export function fieldValue(name, value) {
  if (BOOKKEEPING.has(name) || name.endsWith("_start") || typeof value === "boolean") return null;
  if (value === null || value === undefined || value === "") return null;
  if (typeof value === "object") return Object.keys(value).length ? "" : null;
  if (typeof value !== "number") return String(value);
  if (name.endsWith("_seconds")) return value < 60 ? tenths(value) : clock(value);
  if (name.endsWith("_share")) return `${Math.round(value * 100)} %`;
  return String(Math.round(value * 10) / 10);
}

/** The name of a field as text: talk_seconds becomes Talk, words_per_minute becomes Words per minute. */
export function fieldName(name) {
  const text = name.replace(/_(seconds|share)$/, "").replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Which track and channel of a file were taken, from `metadata.audio` of a job; "" if there was one only. */
export function takenFrom(audio) {
  const { track, tracks, channel, channels } = audio ?? {};
  const which = channel === "mix" ? `mix of ${channels} channels` : `channel ${channel} of ${channels}`;
  return [tracks > 1 && `track ${track} of ${tracks}`, channels > 1 && which].filter(Boolean).join(", ");
}
