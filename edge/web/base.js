/** Where the page is: at the root of its host, or below the path prefix of a reverse proxy. */

/** The path of the start page, as "/" or "/steno/". */
export const BASE = new URL("../", import.meta.url).pathname;

/** The path of something on this server; path: without a slash at its beginning, as "jobs". */
export function at(path) {
  return BASE + path;
}

/** The path of the current address without the prefix, as "jobs". */
export function currentPath() {
  const { pathname } = location;
  return pathname.slice(pathname.startsWith(BASE) ? BASE.length : 1);
}

/** The name under which this page stores something: another server below another prefix has the same storage. */
export function storageName(name) {
  return BASE === "/" ? name : `${name}${BASE}`;
}
