/** A question that is answered before anything else. */

import { h } from "../dom.js";

/** Ask for confirmation in a modal dialog; gives whether it was given. */
export function confirm({ title, text, yes, no = "Cancel" }) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "card ask", "aria-labelledby": "ask-title" },
      h("h2", { id: "ask-title" }, title),
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
