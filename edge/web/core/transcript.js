/** The transcript of a recording: final segments in order, each once, and the text of open segments. Pure. */

export class Transcript {
  constructor() {
    this.lines = []; // finals: the server's segments with `part`, start and end in seconds of the whole recording
    this.open = []; // { start, text, stable }: segments without a final yet
    this.part = 0;
    this.offset = 0;
  }

  /** Further segments come from another job, which began `offset` seconds into the recording. */
  nextPart(offset) {
    this.part += 1;
    this.offset = offset;
    this.open = [];
  }

  /**
   * Add a final segment; gives "added", "replaced", or null if it is known. The server repeats finals after a
   * reconnect; only a failed one, with `error`, is replaced.
   */
  final(segment) {
    const line = {
      ...segment,
      part: this.part,
      start: segment.start + this.offset,
      end: segment.end + this.offset,
    };
    this.open = this.open.filter((open) => open.start < line.start || open.start >= line.end);
    const at = this.#find(line);
    const known = this.lines[at];
    if (known?.part === line.part && known.index === line.index) {
      if (!known.error || line.error) return null;
      this.lines[at] = line;
      return "replaced";
    }
    this.lines.splice(at, 0, line);
    return "added";
  }

  /** The finished job has these texts, which may be better than those that were shown while it was live. */
  finish(segments) {
    const texts = new Map(segments.map((segment) => [segment.index, segment]));
    this.lines = this.lines.map((line) => {
      const known = line.part === this.part && texts.get(line.index);
      if (!known || (known.text === line.text && !line.error)) return line;
      const { start, end } = line;
      return { ...known, part: line.part, start, end };
    });
    segments.forEach((segment) => this.final(segment));
    this.close();
  }

  /** Speech began `start` seconds into the job. */
  speech(start) {
    this.partial({ start, text: "", stable: 0 });
  }

  /** The interim text of the segment that began at `start`. */
  partial({ start, text, stable }) {
    const at = start + this.offset;
    if (this.lines.some((line) => line.start <= at && at < line.end)) return; // its final was here first
    const open = this.open.find((other) => other.start === at);
    if (!open) this.open.push({ start: at, text, stable });
    else if (text) Object.assign(open, { text, stable });
  }

  /** Nothing is open any more. */
  close() {
    this.open = [];
  }

  /** Index of a line, or where it belongs; usually the end. */
  #find(line) {
    let at = this.lines.length;
    while (at > 0 && !before(this.lines[at - 1], line)) at -= 1;
    return at;
  }
}

function before(a, b) {
  return a.part < b.part || (a.part === b.part && a.index < b.index);
}

/** Index of the last line that has begun at `time`; -1 before the first. lines: in order of start. */
export function lineAt(lines, time) {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Letters and digits, other than punctuation. */
const WORD_CHARACTER = /[\p{L}\p{N}]/u;

/**
 * Cut a text into its words, { gap, text, start, end }: all gaps and texts together are `text`. Null if these are not
 * the words of the text. words: [{ word, start, end }].
 */
export function timedWords(text, words) {
  const found = [];
  let at = 0;
  for (const { word, start, end } of words) {
    const plain = word.trim();
    const next = text.indexOf(plain, at);
    const gap = text.slice(at, next);
    if (!plain || next < 0 || WORD_CHARACTER.test(gap)) return null;
    found.push({ gap, text: plain, start, end });
    at = next + plain.length;
  }
  const rest = text.slice(at);
  if (!found.length || WORD_CHARACTER.test(rest)) return null;
  found.at(-1).text += rest;
  return found;
}
