// Apply the chosen theme before the page is drawn. Not a module, because modules run too late.
(() => {
  try {
    const base = new URL("../", document.currentScript.src).pathname;
    const chosen = localStorage.getItem(base === "/" ? "theme" : `theme${base}`); // as `storageName` of base.js
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Without storage the theme follows the system.
  }
})();
