/** How long to wait before the next attempt. Pure; times in seconds. */

export const FIRST = 0.2;
export const LONGEST = 5;

/**
 * Before attempt 1, 2, ...; chance: uniform in 0..1; least: what the server asked for.
 * "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function backoff(attempt, chance, least = 0) {
  return Math.max(least, chance * Math.min(LONGEST, FIRST * 2 ** Math.min(attempt - 1, 30)));
}
