/** The REST interface of the server. */

import { at } from "./base.js";

/** A request failed; the message is a sentence. status: 0 if no server answered; retryAfter: seconds or null. */
export class ApiError extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether trying again may help. */
  get retryable() {
    return [0, 408, 425, 429, 500, 502, 503, 504].includes(this.status);
  }
}

/** Create a job; gives its id. options: as in `/docs`; null values are left out. */
export async function createJob(options) {
  const body = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null && value !== ""));
  return (await call("POST", at("api/v1/stream/create"), body)).job_id;
}

/** A job's record, also while it is live. */
export function getJob(job, signal) {
  return call("GET", jobPath(job), undefined, signal);
}

/** Erase a job and all of its sound and text. */
export function deleteJob(job) {
  return call("DELETE", jobPath(job));
}

/** A page of jobs, newest first: { jobs, next_cursor, searched }. status: states with commas between, or nothing. */
export function listJobs({ query = "", status = "", cursor = "", limit = 20 }, signal) {
  const params = new URLSearchParams({ limit: String(limit) });
  if (query.trim()) params.set("q", query.trim());
  if (status) params.set("status", status);
  if (cursor) params.set("cursor", cursor);
  return call("GET", at(`api/v1/jobs?${params}`), undefined, signal);
}

/** The waveform of a job's sound: { min, max }, the lowest and highest sample of equal stretches, -1..1. */
export function getPeaks(job, signal) {
  return call("GET", `${jobPath(job)}/peaks`, undefined, signal);
}

/** The path of something of a job: "transcript.srt", "audio.wav", "events". */
export function jobUrl(job, what) {
  return `${jobPath(job)}/${what}`;
}

/**
 * The address of a job's socket on the server of this page, which is the only one that the page may connect to.
 * sample: the first one that the page still has.
 */
export function socketUrl(job, sample) {
  const url = new URL(at(`api/v1/stream/${encodeURIComponent(job)}`), location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("sample", String(sample));
  return url.href;
}

function jobPath(job) {
  return at(`api/v1/jobs/${encodeURIComponent(job)}`);
}

async function call(method, path, body, signal) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  const answer = await json(response);
  if (response.ok) return answer;
  const detail = answer?.detail ?? answer?.title ?? `The server answered ${response.status}.`;
  throw new ApiError(response.status, sentence(detail), retryAfter(answer, response));
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

function retryAfter(answer, response) {
  const seconds = Number(answer?.retry_after ?? response.headers.get("Retry-After") ?? NaN);
  return Number.isFinite(seconds) ? seconds : null;
}

/** A clause of the server as a sentence: with a capital letter and a full stop. */
export function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
