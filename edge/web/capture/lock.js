/** Which window has a recording, so that two of them do not go on with the same one. */

/** A window that is being loaded again lets go within this time, in ms. */
const LET_GO_WITHIN = 2_000;

/** Gives a function that lets go, or null where another window has the job. */
export async function hold(job) {
  if (!navigator.locks) return () => {}; // an insecure page has no locks: the server then says who is the newest
  return new Promise((resolve) => {
    const taken = () => new Promise((release) => resolve(release));
    navigator.locks
      .request(`stenobus/${job}`, { signal: AbortSignal.timeout(LET_GO_WITHIN) }, taken)
      .catch(() => resolve(null));
  });
}
