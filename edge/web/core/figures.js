/** Members of an object of the wire as a person reads them. Pure. */

import { clock, tenths } from "./format.js";

/** What tells where in a job something is, and not what was found out. */
const BOOKKEEPING = new Set(["job", "job_id", "final", "generation", "index", "segments", "failed", "until"]);

/** A member's value in words; null where it is not to be shown. Objects and lists are given back as "". */
export function figure(name, value) {
  if (BOOKKEEPING.has(name) || name.endsWith("_start") || typeof value === "boolean") return null;
  if (value === null || value === undefined || value === "") return null;
  if (typeof value === "object") return Object.keys(value).length ? "" : null;
  if (typeof value !== "number") return String(value);
  if (name.endsWith("_seconds")) return value < 60 ? tenths(value) : clock(value);
  if (name.endsWith("_share")) return `${Math.round(value * 100)} %`;
  return String(Math.round(value * 10) / 10);
}

/** A member's name in words: talk_seconds becomes Talk, words_per_minute becomes Words per minute. */
export function words(name) {
  const text = name.replace(/_(seconds|share)$/, "").replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
