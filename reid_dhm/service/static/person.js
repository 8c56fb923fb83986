/* One person: the way over all cameras on one time axis, and every appearance, to correct. */

import { ask } from "./api.js";
import { $, count, el, image } from "./dom.js";
import { date, inWords, span } from "./format.js";
import { nameOf } from "./statements.js";
import { drawTimeline } from "./timeline.js";
import { askText } from "./dialogs.js";

export class PersonView {
  /** `page` has `statements`, `actions`, `may(role)`, `attempt(action)`, `rename`, `mergeOf`, `names()`, `go(path)`. */
  constructor(page) {
    this.page = page;
    this.selected = new Set();
    $("view-person").addEventListener("keydown", (event) => this.key(event));
  }

  async open(id) {
    if (id !== this.person?.id) this.selected.clear();
    this.person = null;
    try {
      this.person = await ask(`/api/people/${id}`);
    } catch (error) {
      if (error.status !== 404) throw error;
      $("view-person").replaceChildren(
        el("h1", { id: "person-title" }, `Person ${id}`),
        el("p", { class: "empty" }, "There is no such person any more: merged with somebody else, undone, or deleted. ", el("a", { href: "/people", "data-view": true }, "All people")));
      return;
    }
    const known = new Set(this.person.appearances.map((seen) => seen.tracklet));
    for (const tracklet of [...this.selected]) if (!known.has(tracklet)) this.selected.delete(tracklet);
    this.draw();
  }

  async refresh() {
    const { activeElement } = document;
    const focused = activeElement?.closest?.("[data-tracklet]")?.dataset.tracklet;
    const id = this.person?.id ?? this.last;
    if (id) await this.open(id);
    if (focused) $("view-person").querySelector(`[data-tracklet="${focused}"] .open`)?.focus();
  }

  draw() {
    const { person, page } = this;
    this.last = person.id;
    const seen = person.appearances;
    const says = page.may("investigator");
    const cameras = [...new Set(seen.map((each) => each.camera))];
    const seconds = seen.reduce((sum, each) => sum + each.end - each.start, 0);
    const act = (id, text, action, more = {}) => el("button", { type: "button", id, onclick: () => page.attempt(action), ...more }, text);
    const way = el("div", { id: "person-timeline" });
    $("view-person").replaceChildren(
      el("div", { class: "view-head person-head" },
        image(`/api/people/${person.id}/portrait`, "", { class: "face", loading: null }),
        el("div", {},
          el("p", { class: "small" }, el("a", { href: "/people", "data-view": true }, "← All people")),
          el("h1", { id: "person-title" }, nameOf(person)),
          el("p", { class: "about" }, `${person.name ? `Person ${person.id} · ` : ""}${count(seen.length, "appearance")} · ${cameras.join(", ")} · ${Math.round(seconds)} s in view${person.hidden ? " · hidden" : ""}`)),
        el("div", { class: "head-tools" },
          act("person-search", "Search for this person", () => page.searchFor(seen.map((each) => each.tracklet)), { class: "primary" }),
          says && act("person-name", person.name ? "Rename…" : "Name…", () => page.rename(person)),
          says && act("person-merge", "Merge with…", () => this.merge()),
          says && act("person-hide", person.hidden ? "Show again" : "Hide", () => this.hide()),
          page.may("administrator") && el("details", { class: "menu" },
            el("summary", { class: "button" }, "More"),
            el("div", { class: "menu-items" }, act("person-delete", "Delete this person…", () => page.deletePerson(person)))))),
      el("h2", {}, "The way over all cameras"),
      way,
      el("h2", {}, "Appearances"),
      el("ol", { class: "cards", id: "appearances" }, ...seen.map((each, index) => this.card(each, index))),
      says && el("div", { class: "selection", id: "appearance-selection", hidden: true },
        el("p", { id: "appearance-words" }),
        act("split", "Somebody else", () => this.split(), { class: "primary" }),
        act("confirm-appearances", "This person, for certain", () => this.confirm()),
        act("clear-appearances", "Clear selection", () => { this.selected.clear(); this.draw(); })),
      says && el("p", { class: "small keys" }, "Keys on an appearance: Space selects, S splits the selected off, C confirms them, N names the person, Ctrl+Z undoes."));
    drawTimeline(way, seen, { open: page.actions.open, noun: "Appearance" });
    this.drawSelection();
  }

  card(seen, index) {
    const says = this.page.may("investigator");
    const label = `appearance ${index + 1}: ${inWords(seen)}`;
    const how = seen.confirmed_by ? `✓ ${seen.confirmed_by}, ${new Date(seen.confirmed_at).toLocaleDateString("en", { dateStyle: "medium" })}` : "found automatically";
    return el("li", { class: `candidate${seen.confirmed_by ? " confirmed" : ""}`, "data-tracklet": seen.tracklet },
      el("button", { type: "button", class: "open", "aria-label": `Open ${label}`, onclick: () => this.page.actions.open(seen) }, image(`/api/tracklets/${seen.tracklet}/thumbnail`, "")),
      el("div", { class: "candidate-words" },
        el("h3", {}, el("span", { class: "rank" }, `${index + 1}.`), el("span", {}, seen.camera),
          says && el("input", { type: "checkbox", "aria-label": `Select ${label}`, checked: this.selected.has(seen.tracklet), onchange: () => this.select(seen.tracklet) })),
        el("p", { class: "when" }, span(seen)),
        date(seen) && el("p", { class: "when" }, date(seen)),
        el("p", { class: "when" }, how)));
  }

  select(tracklet) {
    if (!this.selected.delete(tracklet)) this.selected.add(tracklet);
    const box = $("appearances").querySelector(`[data-tracklet="${tracklet}"] input`);
    if (box) box.checked = this.selected.has(tracklet);
    this.drawSelection();
  }

  drawSelection() {
    const bar = $("appearance-selection");
    if (!bar) return;
    const [number, all] = [this.selected.size, this.person.appearances.length];
    bar.hidden = number === 0;
    $("appearance-words").textContent = `${count(number, "appearance")} selected`;
    $("split").disabled = number === all;
    $("split").title = number === all ? "All are selected: leave out those of this person" : "";
  }

  key(event) {
    const item = event.target.closest("#appearances [data-tracklet]");
    if (!item || !this.page.may("investigator") || event.ctrlKey || event.metaKey || event.altKey) return;
    const { tracklet } = item.dataset;
    const acts = {
      " ": event.target.matches("button") && (() => this.select(tracklet)),
      s: () => this.page.attempt(() => this.split()),
      c: () => this.page.attempt(() => this.confirm()),
      n: () => this.page.attempt(() => this.page.rename(this.person)),
    }[event.key.toLowerCase()];
    if (!acts) return;
    event.preventDefault();
    acts();
  }

  /** Record that what is selected is somebody else. */
  async split() {
    const tracklets = [...this.selected];
    if (!tracklets.length || tracklets.length === this.person.appearances.length) return;
    this.selected.clear();
    await this.page.statements.say(`${count(tracklets.length, "appearance")} split from ${nameOf(this.person)}`, `/api/people/${this.person.id}/split`, { tracklets });
  }

  /** Record that what is selected is this person; a name or a confirmed appearance says which. */
  async confirm() {
    const tracklets = [...this.selected];
    if (!tracklets.length) return;
    const { id, name, appearances } = this.person;
    const words = `${count(tracklets.length, "appearance")} confirmed: ${nameOf(this.person)}`;
    const anchor = appearances.find((seen) => seen.confirmed_by) || appearances.find((seen) => this.selected.has(seen.tracklet));
    if (name) {
      await this.page.statements.say(words, "/api/labels", { tracklets, name });
    } else if (new Set([...tracklets, anchor.tracklet]).size > 1) {
      await this.page.statements.say(words, "/api/links", { tracklets: [...new Set([...tracklets, anchor.tracklet])] });
    } else {
      throw new Error("Select a second appearance, or name the person: one appearance alone says nothing");
    }
    this.selected.clear();
    if (this.person?.id === id) this.drawSelection();
  }

  async merge() {
    const who = await askText({ title: `Merge ${nameOf(this.person)} with`, label: "Name or number", known: await this.page.names(), yes: "Merge" });
    if (!who) return;
    const other = await this.page.findPerson(who);
    const json = await this.page.mergeOf([{ ...this.person, tracklets: Infinity }, other]);
    if (json) await this.page.statements.say(`${nameOf(this.person)} and ${nameOf(other)} are one person`, "/api/merges", json);
    if (json && json.people[0] !== this.person?.id) this.page.go(`/people/${json.people[0]}`);
  }

  async hide() {
    const { id, hidden } = this.person;
    await this.page.statements.say(`${nameOf(this.person)} ${hidden ? "is shown again" : "is hidden"}`, `/api/people/${id}/hide`, { hidden: !hidden });
  }
}
