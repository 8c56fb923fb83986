/* Who might be the same: two people side by side, the most useful pair first; answers are statements. */

import { ask } from "./api.js";
import { $, count, el, image } from "./dom.js";
import { inWords, span } from "./format.js";
import { nameOf, personLink } from "./statements.js";

const SHOWN = 4; // images of each person

export class Questions {
  constructor(page) {
    this.page = page;
    this.asked = [];
    this.answered = 0;
    this.passed = new Set(); // pairs that the user was not sure about
    $("question").addEventListener("keydown", (event) => {
      if (event.target.closest("input") || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { y: "same", n: "different", u: "unsure", Escape: "close" }[event.key];
      if (!act) return;
      event.preventDefault();
      page.attempt(() => this[act]());
    });
  }

  get isOpen() {
    return !$("question").hidden;
  }

  async open() {
    $("question").hidden = false;
    await this.refresh();
    $("question").focus();
    $("question").scrollIntoView({ block: "nearest" });
  }

  close() {
    $("question").hidden = true;
    $("ask").focus();
  }

  /** Ask anew: every answer changes which question is the most useful. */
  async refresh() {
    if (!this.isOpen) return;
    const found = await ask("/api/questions?limit=50");
    this.asked = found.filter(({ first, second }) => !this.passed.has(`${first.id} ${second.id}`));
    await this.draw();
  }

  async draw() {
    const [now] = this.asked;
    const head = (...more) => [
      el("div", { class: "question-head" },
        el("h2", { id: "question-title" }, now ? "The same person?" : "Nothing left to ask"),
        el("p", { class: "small" }, `${count(this.answered, "answer")} so far; the most useful question comes first`),
        el("button", { type: "button", onclick: () => this.close() }, "Close")),
      ...more,
    ];
    if (!now) {
      $("question").replaceChildren(...head(el("p", {}, "All pairs that are alike were answered, seen at once, or passed over. Find people anew to use the answers for everybody.")));
      return;
    }
    const sides = await Promise.all([now.first, now.second].map((person) => this.side(person)));
    const button = (act, key, text) => el("button", { type: "button", "aria-keyshortcuts": key, onclick: () => this.page.attempt(() => this[act]()) }, text);
    $("question").replaceChildren(...head(
      el("div", { class: "pair" }, ...sides),
      el("div", { class: "answers" },
        button("same", "Y", "Same person (Y)"), button("different", "N", "Two people (N)"), button("unsure", "U", "Not sure (U)"),
        el("span", { class: "small" }, `similarity ${now.similarity.toFixed(3)}`))));
  }

  async side(person) {
    const { appearances } = await ask(`/api/people/${person.id}`);
    const longest = [...appearances].sort((a, b) => b.num_boxes - a.num_boxes).slice(0, SHOWN);
    return el("section", { class: "half", "aria-label": nameOf(person) },
      el("h3", {}, personLink(person.id, nameOf(person)), el("small", {}, count(person.tracklets, "appearance"))),
      el("ul", {}, ...longest.map((seen) => el("li", {},
        el("button", { type: "button", class: "open", "aria-label": `Open ${inWords(seen)}`, onclick: () => this.page.actions.open(seen) }, image(`/api/tracklets/${seen.tracklet}/thumbnail`, "")),
        el("span", { class: "small" }, seen.camera, el("br"), span(seen))))));
  }

  async same() {
    const { first, second } = this.asked[0];
    const json = await this.page.mergeOf([first, second]);
    if (!json) return;
    this.answered++;
    await this.page.statements.say(`${nameOf(first)} and ${nameOf(second)} are one person`, "/api/merges", json);
    $("question").focus();
  }

  async different() {
    const { first, second } = this.asked[0];
    this.answered++;
    await this.page.statements.say(`${nameOf(first)} and ${nameOf(second)} are two people`, "/api/differences", { people: [first.id, second.id] });
    $("question").focus();
  }

  async unsure() {
    const { first, second } = this.asked.shift();
    this.passed.add(`${first.id} ${second.id}`);
    await this.draw();
    $("question").focus();
  }
}
