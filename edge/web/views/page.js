/** Parts of the page that belong to no view: the dialog, dropped files, the theme. */

import { storageName } from "../base.js";
import { fill, h, icon } from "../dom.js";

const THEMES = [
  ["", "system", "Theme: as the system"],
  ["light", "sun", "Theme: light"],
  ["dark", "moon", "Theme: dark"],
];

/** Ask for confirmation in a modal dialog; gives whether the person confirmed. */
export function confirm({ title, text, yes, no = "Cancel" }) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "card", "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, text),
      h(
        "form",
        { method: "dialog", class: "buttons" },
        h("button", { value: "no", autofocus: true }, no),
        h("button", { class: "danger", value: "yes" }, yes),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Accept files dropped on the page. onFile: called with one; onError: with a sentence; ready: whether to accept. */
export function acceptDrops({ ready, onFile, onError }) {
  const body = document.body;
  const files = (event) => ready() && event.dataTransfer?.types.includes("Files");
  let depth = 0; // each element under the pointer has events of its own
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
  // Without this the browser opens the file in place of the page.
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    body.classList.remove("dropping");
    const dropped = [...(event.dataTransfer?.files ?? [])];
    if (!dropped.length || !ready()) return;
    if (dropped.length > 1) onError("One file at a time, please.");
    else onFile(dropped[0]);
  });
}

/** The button that switches between the system's theme, light and dark. onChange: called when the colours change. */
export function themeButton(button, onChange) {
  const root = document.documentElement;
  const show = () => {
    const [, picture, name] = THEMES[indexOf(root.dataset.theme)];
    fill(button, icon(picture));
    button.setAttribute("aria-label", name);
    button.title = name;
  };
  button.addEventListener("click", () => {
    const [next] = THEMES[(indexOf(root.dataset.theme) + 1) % THEMES.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem(storageName("theme"), next);
    } catch {
      // the choice then lasts until the page is left
    }
    show();
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
  show();
}

function indexOf(theme) {
  return Math.max(
    0,
    THEMES.findIndex(([name]) => name === (theme ?? "")),
  );
}
