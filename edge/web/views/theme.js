/** The button that changes between the system's theme, light and dark. */

import { fill, icon } from "../dom.js";

const THEMES = [
  ["", "system", "Theme: as the system"],
  ["light", "sun", "Theme: light"],
  ["dark", "moon", "Theme: dark"],
];

/** onChange: called when another theme is shown. */
export function themeButton(button, onChange) {
  const root = document.documentElement;
  const show = () => {
    const [, picture, name] = THEMES[index(root.dataset.theme)];
    fill(button, icon(picture));
    button.setAttribute("aria-label", name);
    button.title = name;
  };
  button.addEventListener("click", () => {
    const [next] = THEMES[(index(root.dataset.theme) + 1) % THEMES.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // then it lasts until the page is left
    }
    show();
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
  show();
}

function index(theme) {
  return Math.max(
    0,
    THEMES.findIndex(([name]) => name === (theme ?? "")),
  );
}
