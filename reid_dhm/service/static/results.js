/* Cards of tracklets: candidates of a search, or all of the gallery. */

import { $, el, image } from "./dom.js";
import { chance, date, inWords, likeness, span } from "./format.js";
import { personLink } from "./statements.js";

/** A card of a tracklet; `rank` is given for candidates. */
export function card(seen, rank, verdict, actions) {
  const words = el("div", { class: "candidate-words" },
    el("h3", {}, rank ? el("span", { class: "rank" }, `${rank}.`) : null, el("span", {}, seen.camera)),
    el("p", { class: "when" }, span(seen)),
    date(seen) ? el("p", { class: "when" }, date(seen)) : null,
    seen.person_id ? el("p", { class: "when" }, "Person: ", personLink(seen.person_id, seen.person)) : null,
    ...(rank && seen.similarity !== undefined ? similarity(seen) : []),
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

/** Replace the cards, or add to them; a sentence where there are none. */
export function showCards(cards, { behind = false, none = "" } = {}) {
  if (!behind) $("cards").replaceChildren();
  $("rest").hidden = true;
  $("rest-cards").replaceChildren();
  $("cards").append(...cards);
  if (!$("cards").children.length) $("cards").append(el("li", { class: "empty" }, none));
}

/** After how many candidates similarity falls most; null where that says nothing. */
export function drop(candidates) {
  if (candidates.length < 3 || candidates.some((found) => found.likely !== null)) return null;
  const falls = candidates.slice(1).map((found, index) => candidates[index].similarity - found.similarity);
  return falls.indexOf(Math.max(...falls)) + 1;
}

/** Show candidates: likely ones first, the rest folded away; or with a line at the largest drop. */
export function showCandidateCards(cards, candidates, fall, none) {
  const known = candidates.some((found) => found.likely !== null);
  const likely = known ? candidates.filter((found) => found.likely).length : candidates.length;
  const first = known ? cards.filter((_, index) => candidates[index].likely) : cards;
  if (fall !== null) {
    const [above, below] = [candidates[fall - 1], candidates[fall]].map(likeness);
    first.splice(fall, 0, el("li", { class: "fall" }, `Similarity falls most here, from ${above} to ${below}.`));
  }
  showCards(first, { none: candidates.length ? "None of the candidates is likely." : none });
  const rest = known ? cards.filter((_, index) => !candidates[index].likely) : [];
  $("rest").hidden = !rest.length;
  if (!likely && rest.length) $("rest").open = true;
  $("rest-summary").textContent = `${rest.length} less likely`;
  $("rest-cards").replaceChildren(...rest);
}
