/** A text in pieces, each with the time at which it is heard. Pure. */

/** What is said, other than the marks around it. */
const SPOKEN = /[\p{L}\p{N}]/u;

/**
 * Pieces { gap, text, start, end }, one for each word: all gaps and texts, put together, are `text`. Null where the
 * words are not those of the text, in their order. words: [{ word, start, end }].
 */
export function pieces(text, words) {
  const found = [];
  let at = 0;
  for (const { word, start, end } of words) {
    const plain = word.trim();
    const next = text.indexOf(plain, at);
    const gap = text.slice(at, next);
    if (!plain || next < 0 || SPOKEN.test(gap)) return null;
    found.push({ gap, text: plain, start, end });
    at = next + plain.length;
  }
  const rest = text.slice(at);
  if (!found.length || SPOKEN.test(rest)) return null;
  found.at(-1).text += rest;
  return found;
}
