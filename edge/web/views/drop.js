/** Files that are dropped anywhere on the page. */

/** onFile: called with one file; onTrouble: with a sentence. ready: whether files are taken now. */
export function acceptDrops({ ready, onFile, onTrouble }) {
  const body = document.body;
  const files = (event) => ready() && event.dataTransfer?.types.includes("Files");
  let depth = 0; // each element that is passed over tells of its own
  addEventListener("dragenter", (event) => {
    if (!files(event)) return;
    depth += 1;
    body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!files(event)) return;
    depth = Math.max(0, depth - 1);
    body.classList.toggle("dropping", depth > 0);
  });
  // Without this the browser leaves the page and opens the file instead.
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    body.classList.remove("dropping");
    const dropped = [...(event.dataTransfer?.files ?? [])];
    if (!dropped.length || !ready()) return;
    if (dropped.length > 1) onTrouble("One file at a time, please.");
    else onFile(dropped[0]);
  });
}
