/* Cards of tracklets: candidates of a search, or all of the gallery. */

import { $, el, icon, image } from "./dom.js";
import { chance, date, inWords, likeness, span } from "./format.js";

/** A card of a tracklet; `rank` is given for candidates. */
export function card(seen, rank, verdict, actions) {
  const words = el("div", { class: "candidate-words" },
    el("h3", {}, rank ? el("span", { class: "rank" }, `${rank}.`) : null, el("span", {}, seen.camera), remove(seen, rank, actions)),
    el("p", { class: "when" }, span(seen)),
    date(seen) ? el("p", { class: "when" }, date(seen)) : null,
    seen.person ? el("p", { class: "when" }, `Person: ${seen.person}`) : null,
    ...(rank ? similarity(seen) : []),
    tools(seen, rank, verdict, actions));
  const open = el("button", { type: "button", class: "open", "aria-label": `Open ${inWords(seen)}`, onclick: () => actions.open(seen) },
    image(`/api/tracklets/${seen.tracklet}/thumbnail`, ""));
  return el("li", { class: `candidate ${verdict || ""}`, "data-tracklet": seen.tracklet }, open, words);
}

function similarity(found) {
  const bar = el("span", {});
  bar.style.width = `${Math.round(Math.min(Math.max(found.similarity, 0), 1) * 100)}%`;
  return [
    el("p", { class: "likeness" }, el("strong", {}, likeness(found)), el("small", {}, " similarity")),
    el("div", { class: "meter", "aria-hidden": "true" }, bar),
    found.probability === null ? null : el("p", {}, el("strong", {}, chance(found.probability)), el("small", {}, " same person")),
  ];
}

function tools(seen, rank, verdict, actions) {
  const mark = (which, text, words) => el("button", {
    type: "button",
    class: `mark-${which}`,
    "aria-pressed": String(verdict === which),
    "aria-label": words,
    onclick: () => actions.mark(seen, which),
  }, text);
  const first = rank
    ? [mark("confirmed", "✓ Confirm", `Confirm candidate ${rank}`), mark("rejected", "✗ Reject", `Reject candidate ${rank}`)]
    : [el("button", { type: "button", class: "find", onclick: () => actions.find(seen) }, "Find this person")];
  return el("div", { class: "candidate-tools" }, ...first);
}

function remove(seen, rank, actions) {
  const what = rank ? `candidate ${rank}` : `the tracklet of ${inWords(seen)}`;
  return el("button", { type: "button", class: "quiet", "aria-label": `Delete ${what}`, title: "Delete…", onclick: () => actions.remove(seen) }, icon("bin"));
}

/** Replace the cards, or add to them; a sentence where there are none. */
export function showCards(cards, { behind = false, none = "" } = {}) {
  if (!behind) $("cards").replaceChildren();
  $("cards").append(...cards);
  if (!$("cards").children.length) $("cards").append(el("li", { class: "empty" }, none));
}
