/** Tests of modules of the page, which run in a page: `test` notes one, `run` does all, in their order. */

const noted = new Map();

export function test(name, body) {
  if (noted.has(name)) throw new Error(`two tests are called ${JSON.stringify(name)}`);
  noted.set(name, body);
}

/** Do all that were noted; gives [name, what went wrong or null] of each. */
export async function run() {
  const results = [];
  for (const [name, body] of noted) {
    try {
      await body();
      results.push([name, null]);
    } catch (error) {
      results.push([name, error.stack ?? String(error)]);
    }
  }
  return results;
}

export function ok(value, what) {
  if (!value) throw new Error(what);
}

/** Equal as JSON, typed arrays as lists. */
export function equal(found, expected) {
  const [a, b] = [found, expected].map((value) => JSON.stringify(value, listed));
  if (a !== b) throw new Error(`found ${a}, expected ${b}`);
}

export function near(found, expected, tolerance, what = "value") {
  if (!(Math.abs(found - expected) <= tolerance)) {
    throw new Error(`${what} is ${found}, expected ${expected} within ${tolerance}`);
  }
}

export function raises(act, pattern) {
  try {
    act();
  } catch (error) {
    if (!pattern.test(error.message)) throw new Error(`${error.message} does not match ${pattern}`);
    return;
  }
  throw new Error(`nothing was raised that matches ${pattern}`);
}

function listed(_name, value) {
  return ArrayBuffer.isView(value) ? Array.from(value) : value;
}

/** Numbers in 0..1, the same ones each time: mulberry32. */
export function chance(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
