/* The search: connects the query, the filter and the candidates, and what follows a confirmation. */

import { ask } from "./api.js";
import { readState, show, viewOf, writeState } from "./address.js";
import { CaseFile } from "./case.js";
import { askText } from "./dialogs.js";
import { $, count, say, showProblem } from "./dom.js";
import { deleteAll } from "./deletion.js";
import { inWords } from "./format.js";
import { Query } from "./query.js";
import { card, drop, showCandidateCards, showCards } from "./results.js";
import { drawTimeline } from "./timeline.js";

const PAGE = 24; // tracklets, while the gallery is browsed

const NONE = "No matching tracklets: widen the time, choose other cameras, or lower the minimum similarity.";

export class Search {
  /** `page` has `gallery`, `filters`, `statements`, `actions`, `may(role)`, `deleted(gone, tracklets)`. */
  constructor(page) {
    this.page = page;
    this.candidates = null; // of the last search; null while the gallery is browsed
    this.cursor = null;
    this.current = null; // the last search: its key, and the promise of its end
    this.opening = null; // the address that is being opened
    this.only = false; // only what is confirmed is shown
    const attempt = (action) => this.attempt(action);
    this.query = new Query(async () => {
      this.opening = null; // the user goes before an address
      await attempt(() => this.run());
      if (this.candidates && $("results").getBoundingClientRect().top > innerHeight / 2) $("results").scrollIntoView();
    }, attempt);
    this.case = new CaseFile(this, attempt);
    this.wire();
    this.wireFiles();
  }

  async attempt(action) {
    showProblem($("problem"), null);
    try {
      await action();
    } catch (error) {
      showProblem($("problem"), error.message);
    }
  }

  /** Show what an address says; a case is opened by its number. */
  async open(view, address) {
    const number = view.case ? view.id : null;
    const mine = { number };
    this.opening = mine;
    try {
      if (number !== (this.case.stored?.id ?? null)) await this.leave();
      const key = number ? `case ${number}` : address;
      if (mine !== this.opening || (this.shown === key && this.current && !number)) return;
      this.shown = key;
      if (!number || !this.case.stored) await this.restore(mine, address);
    } finally {
      if (mine === this.opening) this.opening = null;
    }
  }

  /** Close the open case; the address names it again if it cannot be saved. */
  async leave() {
    try {
      await this.case.close();
    } catch (error) {
      show(`/cases/${this.case.stored.id}`, { replace: true });
      this.page.showView(viewOf(location));
      throw error;
    }
  }

  /** Search as an address or a case says. What is shown is saved in a case only once all of it is read. */
  async restore(mine, address) {
    let found, state, read;
    try {
      ({ found, state } = mine.number ? await this.case.load(mine.number) : { found: null, state: readState(address) });
      read = await this.query.read(state);
    } catch (error) {
      if (mine !== this.opening) return;
      this.query.clear();
      this.showNone("Nothing was searched.");
      throw error;
    }
    if (mine !== this.opening) return;
    this.page.filters.restore(state);
    this.query.restore(read);
    this.only = false;
    await this.run();
    if (!found || mine !== this.opening) return;
    this.case.begin(found);
    this.showVerdicts();
  }

  /** Search, or browse the gallery without a query; what is searched for already is not sent again. */
  run() {
    const { filters } = this.page;
    if (!filters.check()) {
      this.current = null;
      this.showNone("Nothing was searched: correct the filter.");
      return Promise.resolve();
    }
    const key = JSON.stringify([this.query.key(), filters.conditions(), filters.bounds()]);
    if (this.current?.key !== key || this.current.ended) this.current = this.start(key);
    return this.current.promise;
  }

  start(key) {
    const mine = { key, ended: false };
    mine.promise = Promise.resolve().then(() => this.search(mine)).finally(() => { mine.ended = true; });
    return mine;
  }

  async search(mine) {
    const { filters } = this.page;
    $("results").setAttribute("aria-busy", "true");
    $("go").disabled = this.query.empty;
    try {
      if (this.query.empty) {
        await this.browse(mine);
      } else {
        const found = await this.query.run({ ...filters.conditions(), ...filters.bounds() });
        if (mine !== this.current) return;
        this.candidates = found.hits;
        this.only = false;
        if (found.boxes.some(Boolean)) this.query.located(found.boxes);
        this.showFound(found.recall, found.basis);
      }
      if (mine === this.current) this.keepAddress();
    } catch (error) {
      if (mine === this.current && error.boxes && this.query.choose(error.boxes)) return;
      // The query may have been deleted by somebody else: older candidates are removed.
      if (mine === this.current && [404, 422].includes(error.status)) this.showNone(error.message);
      throw error;
    } finally {
      if (mine === this.current) $("results").setAttribute("aria-busy", "false");
    }
  }

  /** Everything that the address says of the search. */
  state() {
    return { ...this.page.filters.state(), ...this.query.state() };
  }

  /** Let the address say what is shown: a new entry of the history, but for marks. */
  keepAddress({ replace = false } = {}) {
    if (this.page.view() !== "search" || this.opening?.number) return;
    if (this.case.stored) {
      this.case.save();
      return;
    }
    const address = writeState(this.state());
    this.shown = address;
    show(`/${address}`, { replace: replace || location.search === "" && this.query.empty });
  }

  showNone(why) {
    if (!this.case.stored && !this.opening?.number) this.query.unmark(); // a case keeps its marks
    this.candidates = null;
    $("heading").textContent = "No candidates";
    $("about").textContent = "";
    for (const id of ["timeline", "feedback", "more", "mark-all", "proof"]) $(id).hidden = true;
    showCards([], { none: why });
  }

  showFound(recall, basis) {
    const { candidates } = this;
    $("heading").textContent = count(candidates.length, "candidate");
    const likely = candidates.filter((found) => found.likely).length;
    const filtered = Object.keys(this.page.filters.conditions()).length ? ", filtered" : "";
    const missing = recall === null ? "" : `; approximate index, recall@10 ${(recall * 100).toFixed(1)}\u00a0%`;
    const known = basis === null
      ? "; which are likely is unknown, as this gallery is not calibrated"
      : `; ${likely || "none"} likely: 50\u00a0% or more, ${basis}`;
    $("about").textContent = `most similar first${filtered}${missing}${candidates.length ? known : ""}`;
    $("more").hidden = true;
    $("proof").hidden = !candidates.length;
    this.showVerdicts();
    const best = candidates.length ? ` Best: ${inWords(candidates[0])}.` : "";
    const some = basis === null ? "" : ` ${likely || "None"} likely.`;
    say(`${count(candidates.length, "candidate")}.${candidates.length ? some : ""}${best}`);
  }

  showVerdicts() {
    if (this.candidates === null) return;
    const { query, page } = this;
    const focused = document.activeElement?.closest?.(".candidate");
    const button = focused && document.activeElement.className;
    const verdict = (tracklet) => query.verdict(tracklet);
    const [confirmed, rejected] = [query.confirmed.size, query.rejected.size];
    this.only &&= confirmed > 0;
    const shown = this.only ? [...query.confirmed.values()] : this.candidates;
    drawTimeline($("timeline"), shown, { verdict, open: page.actions.open });
    const make = (found, index) => card(found, index + 1, verdict(found.tracklet), page.actions);
    if (this.only) showCards(shown.map(make));
    else showCandidateCards(shown.map(make), shown, drop(shown), NONE);
    if (focused) document.querySelector(`[data-tracklet="${focused.dataset.tracklet}"] .${button}`)?.focus();
    $("feedback").hidden = !(confirmed || rejected);
    $("marks").textContent = [confirmed && `${confirmed} confirmed`, rejected && `${rejected} rejected`].filter(Boolean).join(", ");
    $("only").setAttribute("aria-pressed", String(this.only));
    for (const id of ["only", "name-confirmed", "delete-confirmed"]) $(id).disabled = !confirmed;
    $("save-case").hidden = Boolean(this.case.stored) || !page.may("investigator");
    $("mark-all").hidden = this.only || this.candidates.every((found) => query.verdict(found.tracklet));
  }

  /** Confirm or reject; the address and the open case follow. */
  mark(seen, verdict) {
    this.query.mark(seen, verdict);
    this.showVerdicts();
    this.keepAddress({ replace: true });
  }

  /** Browse the gallery, by the same filter as a search. */
  async browse(mine, more = false) {
    const { filters, gallery, actions } = this.page;
    const { cameras: chosen = [], after, before } = filters.conditions();
    const wanted = new URLSearchParams(chosen.map((camera) => ["camera", camera]));
    if (after !== undefined) wanted.set("from", after);
    if (before !== undefined) wanted.set("to", before);
    wanted.set("limit", PAGE);
    wanted.set("after", more ? this.cursor : 0);
    const page = await ask(`/api/tracklets?${wanted}`);
    if (mine !== this.current) return;
    this.candidates = null;
    this.cursor = page.next;
    $("heading").textContent = "In this gallery";
    $("about").textContent = "choose a person to search for";
    for (const id of ["timeline", "feedback", "mark-all", "proof"]) $(id).hidden = true;
    $("more").hidden = this.cursor === null;
    const none = gallery.tracklets ? NONE : "No tracklets yet: index a video with reid-dhm index-video.";
    showCards(page.items.map((seen) => card(seen, 0, null, actions)), { behind: more, none });
  }

  /** Name the person of what is confirmed, or add it to somebody who has the name already. */
  async nameConfirmed() {
    const tracklets = [...this.query.confirmed.keys()];
    const name = await askText({
      title: "Name this person",
      label: "Name",
      words: `${count(tracklets.length, "confirmed tracklet")} will belong to the person of this name, known or new.`,
      known: await this.page.names(),
    });
    if (!name) return;
    await this.page.statements.say(`${count(tracklets.length, "tracklet")}: ${name}`, "/api/labels", { tracklets, name });
  }

  /** Names of people may have changed: what is shown is read again. */
  async refresh() {
    if (this.candidates === null) {
      this.current = this.start("again");
      await this.current.promise;
      return;
    }
    await Promise.all(this.candidates.map(async (found) => {
      const { person, person_id } = await ask(`/api/tracklets/${found.tracklet}`);
      Object.assign(found, { person, person_id });
    }));
    this.showVerdicts();
  }

  wire() {
    $("search").addEventListener("submit", async (event) => {
      event.preventDefault();
      await this.attempt(() => this.run());
      $("results").focus();
    });
    $("clear").addEventListener("click", () => this.attempt(async () => {
      await this.case.close();
      this.opening = null;
      this.query.clear();
      this.page.filters.clear();
      await this.run();
    }));
    $("more").addEventListener("click", () => this.attempt(() => this.browse(this.current, true)));
    $("refine").addEventListener("click", async () => { await this.attempt(() => this.run()); $("results").focus(); });
    $("only").addEventListener("click", () => { this.only = !this.only; this.showVerdicts(); });
    $("name-confirmed").addEventListener("click", () => this.attempt(() => this.nameConfirmed()));
    $("mark-all").addEventListener("click", () => {
      // Only what is shown: less likely candidates may be folded away.
      const shown = this.candidates.filter((found) => found.likely !== false || $("rest").open);
      for (const found of shown) if (!this.query.verdict(found.tracklet)) this.query.mark(found, "confirmed");
      this.showVerdicts();
      this.keepAddress({ replace: true });
      $("only").focus();
    });
    $("unmark").addEventListener("click", () => {
      this.query.unmark();
      this.showVerdicts();
      this.keepAddress({ replace: true });
      $("results").focus();
    });
    $("delete-confirmed").addEventListener("click", () => this.attempt(async () => {
      const tracklets = [...this.query.confirmed.keys()];
      const gone = await deleteAll(tracklets);
      if (gone) await this.page.deleted(gone, tracklets);
    }));
  }

  wireFiles() {
    const add = (files) => {
      const chosen = [...files];
      return this.attempt(async () => { await this.page.ready; await this.query.addFiles(chosen); });
    };
    $("files").addEventListener("change", async () => { await add($("files").files); $("files").value = ""; });
    let depth = 0;
    const over = (by) => { depth += by; $("drop").classList.toggle("over", depth > 0); };
    const files = (event) => this.page.view() === "search" && event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragenter", (event) => { if (files(event)) over(1); });
    document.addEventListener("dragleave", (event) => { if (files(event)) over(-1); });
    document.addEventListener("dragover", (event) => { if (files(event)) event.preventDefault(); });
    document.addEventListener("drop", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      over(-depth);
      if (event.dataTransfer.files.length) add(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => {
      if (this.page.view() === "search" && event.clipboardData.files.length) add(event.clipboardData.files);
    });
  }
}
