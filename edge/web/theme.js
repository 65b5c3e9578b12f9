// Apply the chosen theme before the page is drawn. Not a module, because modules run too late.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Without storage the theme follows the system.
  }
})();
