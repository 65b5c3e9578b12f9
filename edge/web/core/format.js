/** How times, dates and states are written. Pure. */

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

/** A moment as a person says it: the time today, else the day; text: ISO 8601. */
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

/** A job's state in a word. */
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
  const why = reason ? ` (${reason})` : "";
  return `Sentences chosen from the transcript: no language model was available${why}.`;
}

/** Parts of a text, { text, hit }: which of them are words of a search. */
export function marked(text, query) {
  const words = query
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (words.length === 0) return [{ text, hit: false }];
  const parts = text.split(new RegExp(`(${words.join("|")})`, "giu"));
  return parts.map((part, index) => ({ text: part, hit: index % 2 === 1 })).filter((part) => part.text);
}
