/* Dialogs that ask for a line of text, and the menus of the page. */

import { $, el } from "./dom.js";

/** Ask for a line of text; resolves to it, or to null. `known` are texts to choose from. */
export function askText({ title, label, words = "", value = "", known = [], yes = "Save", optional = false }) {
  const dialog = $("asking");
  $("asking-title").textContent = title;
  $("asking-words").textContent = words;
  $("asking-label").textContent = label;
  $("asking-value").value = value;
  $("asking-value").required = !optional;
  $("asking-known").replaceChildren(...known.map((text) => el("option", { value: text })));
  $("asking-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  $("asking-value").select();
  return new Promise((answer) => dialog.addEventListener("close", () => {
    answer(dialog.returnValue === "yes" ? $("asking-value").value.trim() : null);
  }, { once: true }));
}

/** Menus are `details.menu`: one is open at a time, and Escape or a choice closes it. */
export function wireMenus() {
  const open = () => document.querySelector("details.menu[open]");
  document.addEventListener("click", (event) => {
    const menu = open();
    if (!menu) return;
    if (!menu.contains(event.target) || event.target.closest(".menu-items button, .menu-items a")) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const menu = open();
    if (event.key !== "Escape" || !menu) return;
    event.preventDefault(); // a dialog around it stays open
    menu.open = false;
    menu.querySelector("summary").focus();
  }, { capture: true });
}
