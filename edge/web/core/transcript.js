/** What was said so far: finals in order, each once, and the text of segments that are still open. Pure. */

export class Transcript {
  constructor() {
    this.lines = []; // finals: the server's segments with `part`, start and end in seconds of the whole recording
    this.open = []; // { start, text, stable }: segments without a final yet
    this.part = 0;
    this.offset = 0;
  }

  /** What follows is told by another job, which began `offset` seconds into the recording. */
  nextPart(offset) {
    this.part += 1;
    this.offset = offset;
    this.open = [];
  }

  /**
   * A final; gives what is new about it: "added", "replaced" or null. It is told again after a reconnect; only one with
   * `error` may be replaced, by a good one.
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

  /** Somebody began to speak, `start` seconds into the job. */
  speech(start) {
    this.partial({ start, text: "", stable: 0 });
  }

  /** What is understood so far of the segment that began at `start`. */
  partial({ start, text, stable }) {
    const at = start + this.offset;
    if (this.lines.some((line) => line.start <= at && at < line.end)) return; // it came after its final
    const open = this.open.find((other) => other.start === at);
    if (!open) this.open.push({ start: at, text, stable });
    else if (text) Object.assign(open, { text, stable });
  }

  /** Nothing is open any more. */
  close() {
    this.open = [];
  }

  /** Index of a line, or where it belongs; most come last. */
  #find(line) {
    let at = this.lines.length;
    while (at > 0 && !before(this.lines[at - 1], line)) at -= 1;
    return at;
  }
}

function before(a, b) {
  return a.part < b.part || (a.part === b.part && a.index < b.index);
}

/** Index of the line that is heard at `time`, or was heard last; -1 before the first. lines: in order of start. */
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
