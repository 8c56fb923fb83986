"use strict";

// The search box: queries by number, person or file name, as links.

const SHOWN = 30;

function findQueries(text) {
  const { pids, names } = reportQueries;
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const number = /^\d+$/.test(wanted) ? Number(wanted) : null;
  const groups = [[], [], []]; // by query number, person, file name
  for (let row = 0; row < pids.length; row += 1) {
    if (row === number) groups[0].push(row);
    else if (pids[row] === number) groups[1].push(row);
    else if (names && names[row].toLowerCase().includes(wanted)) groups[2].push(row);
  }
  return groups.flat();
}

function linkTo(row, root) {
  const { digits, pids, camids, names, right } = reportQueries;
  const link = document.createElement("a");
  link.href = `${root}queries/${String(row).padStart(digits, "0")}.html`;
  const verdict = right ? (right[row] ? " ✓" : " ✗") : "";
  link.append(`Query ${row}${verdict}`);
  const about = document.createElement("small");
  about.textContent = `person ${pids[row]}, camera ${camids[row]}${names ? `, ${names[row]}` : ""}`;
  link.append(about);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

function startSearch(form) {
  const input = form.querySelector("input");
  const box = form.querySelector(".found");
  const status = box.querySelector("p");
  const list = box.querySelector("ul");
  const links = () => [...list.querySelectorAll("a")];

  function show() {
    const rows = findQueries(input.value);
    list.replaceChildren(...rows.slice(0, SHOWN).map((row) => linkTo(row, form.dataset.root)));
    const more = rows.length > SHOWN ? `, the first ${SHOWN} shown` : "";
    const noun = rows.length === 1 ? "query" : "queries";
    status.textContent = rows.length ? `${rows.length} ${noun}${more}` : "No matching query";
    box.hidden = !input.value.trim();
  }

  function close() {
    box.hidden = true;
  }

  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    links()[0]?.click();
  });
  form.addEventListener("keydown", (event) => {
    const places = [input, ...links()];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      input.focus();
      close();
    } else if (step && !box.hidden) {
      event.preventDefault();
      const place = places.indexOf(document.activeElement) + step;
      places[Math.max(0, Math.min(place, places.length - 1))].focus();
    }
  });
  document.addEventListener("focusin", (event) => form.contains(event.target) || close());
  document.addEventListener("pointerdown", (event) => form.contains(event.target) || close());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, textarea, select")) {
      event.preventDefault();
      input.focus();
    }
  });
  form.hidden = false;
}

// A button with data-toggle=NAME adds and removes the class NAME of the page.

function startToggle(button) {
  button.addEventListener("click", () => {
    const on = document.documentElement.classList.toggle(button.dataset.toggle);
    button.setAttribute("aria-pressed", String(on));
  });
  button.hidden = false;
}

if (typeof reportQueries !== "undefined") document.querySelectorAll("form.find").forEach(startSearch);
document.querySelectorAll("button[data-toggle]").forEach(startToggle);

// Print folded sections too.

window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
});
