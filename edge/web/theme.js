// Before anything is drawn: the theme that was chosen here, if one was. Not a module, because those run too late.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // A browser without storage follows the system.
  }
})();
