/* The page of a gallery: who uses it, which view its address names, and what the views share. */

import { ask, askAll, onUnknown } from "./api.js";
import { readState, show, viewOf, writeState } from "./address.js";
import { Cases } from "./cases.js";
import { Deletion, confirmed as agreed, deleteOne } from "./deletion.js";
import { askText, wireMenus } from "./dialogs.js";
import { $, count, drawIcons, say, showProblem, wireClosing } from "./dom.js";
import { Filters } from "./filters.js";
import { People } from "./people.js";
import { PersonView } from "./person.js";
import { Search } from "./search.js";
import { Statements, nameOf } from "./statements.js";
import { Viewer } from "./viewer.js";

const ROLES = ["viewer", "investigator", "administrator"];

class Page {
  constructor() {
    this.gallery = null;
    this.cameras = [];
    this.role = ROLES.at(-1);
    this.actions = {
      may: (role) => this.may(role),
      open: (seen) => this.attempt(() => this.viewer.openPerson(seen)),
      find: (seen) => this.attempt(() => this.searchFor([seen.tracklet])),
      findBox: (...box) => this.attempt(async () => {
        this.showView({ name: "search" });
        await this.search.query.takeFrame(...box);
      }),
      mark: (seen, verdict) => this.search.mark(seen, verdict),
      verdict: (tracklet) => this.search.query.verdict(tracklet),
      isCandidate: (tracklet) => this.view() === "search" && Boolean(this.search.candidates?.some((found) => found.tracklet === tracklet)),
      remove: (seen) => this.remove(seen),
    };
    this.statements = new Statements(() => this.changed(), (action) => this.attempt(action));
    this.filters = new Filters(() => this.search.attempt(() => this.search.run()));
    this.viewer = new Viewer(this.actions);
    this.search = new Search(this);
    this.people = new People(this);
    this.person = new PersonView(this);
    this.cases = new Cases(this);
    this.deletion = new Deletion(this.filters, (gone) => this.deleted(gone, null), (action) => this.attempt(action));
    this.wire();
  }

  /** Run an action; its error is shown above the view. */
  async attempt(action) {
    showProblem($("fault"), null);
    try {
      await action();
    } catch (error) {
      showProblem($("fault"), error.message);
      $("fault").scrollIntoView({ block: "nearest" });
    }
  }

  /** Whether the token allows what a role may do. */
  may(role) {
    return ROLES.indexOf(this.role) >= ROLES.indexOf(role);
  }

  /** The name of the view that is shown. */
  view() {
    return this.shown?.name;
  }

  showView(view) {
    this.shown = view;
    for (const name of ["search", "people", "person", "cases"]) $(`view-${name}`).hidden = name !== view.name;
    const current = view.case ? "cases" : view.name === "person" ? "people" : view.name;
    for (const link of document.querySelectorAll(".views a")) {
      if (link.dataset.view === current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  /** Show the view that the address names. */
  async route() {
    const view = viewOf(location);
    const state = readState(location.search);
    if (view.name === "cases" || view.case) {
      if (!this.may("investigator")) throw new Error("Cases take a token of an investigator.");
    }
    this.showView(view);
    const title = { search: "who was where, when", people: "people", person: `person ${view.id}`, cases: "cases" }[view.name];
    document.title = `${this.gallery.name}: ${title}`;
    if (view.name === "search") await this.search.open(view, location.search);
    else if (view.name === "people") await this.people.open(state);
    else if (view.name === "person") await this.person.open(view.id);
    else await this.cases.open();
  }

  /** Go to another address of the page. */
  async go(path) {
    show(path);
    await this.route();
    scrollTo(0, 0);
  }

  searchFor(tracklets) {
    return this.go(`/${writeState({ tracklet: tracklets.slice(0, 200) })}`);
  }

  /** Read what a statement may have changed in the view. */
  async changed() {
    if (this.view() === "people") await this.people.refresh();
    else if (this.view() === "person") await this.person.refresh();
    else if (this.view() === "search") await this.search.refresh();
  }

  /** Names that people have, to choose from. */
  async names() {
    const people = await askAll("/api/people?hidden=true");
    return people.map((each) => each.name).filter(Boolean);
  }

  /** The person of a name or number. */
  async findPerson(who) {
    const number = /^(?:person )?(\d+)$/i.exec(who);
    const people = number ? [] : await askAll("/api/people?hidden=true", 10_000);
    const found = number ? await ask(`/api/people/${number[1]}`) : people.find((each) => each.name === who);
    if (!found) throw new Error(`Nobody is called ${who}: give a name or a number as the list of people shows it`);
    return { ...found, tracklets: found.tracklets ?? found.appearances.length };
  }

  /** The request that makes people one; asks for the name where several have one. Null: better not. */
  async mergeOf(chosen) {
    const order = [...chosen].sort((a, b) => Boolean(b.name) - Boolean(a.name) || b.tracklets - a.tracklets || a.id - b.id);
    const people = order.map((each) => each.id);
    const names = [...new Set(order.map((each) => each.name).filter(Boolean))];
    if (names.length < 2) return { people };
    const name = await askText({ title: "Two names for one person", label: "The name that stays", value: names[0], known: names, yes: "Merge" });
    return name ? { people, name } : null;
  }

  async rename(person) {
    const name = await askText({
      title: `Name of ${nameOf(person)}`, label: "Name", value: person.name || "", optional: true,
      words: person.name ? "Empty takes the name away." : "", known: [],
    });
    if (name === null || name === (person.name || "")) return;
    const words = name ? `${nameOf(person)} is ${name}` : `${person.name} has no name any more`;
    await this.statements.say(words, `/api/people/${person.id}/name`, { name: name || null });
  }

  async deletePerson(person) {
    const text = `${nameOf(person)} for good: ${count(person.appearances.length, "tracklet")} with boxes, images and embeddings, the name, and cases that confirm nobody else.`;
    if (!(await agreed(text, `/api/people/${person.id}/portrait`))) return;
    const gone = await ask(`/api/people/${person.id}`, { method: "DELETE" });
    show("/people");
    await this.deleted(gone, person.appearances.map((seen) => seen.tracklet));
  }

  async remove(seen) {
    let gone = null;
    await this.attempt(async () => {
      gone = await deleteOne(seen);
      if (gone) await this.deleted(gone, [seen.tracklet]);
    });
    return gone !== null;
  }

  /** Update the page after a deletion of these tracklets, or of ones that only the service knows (null). */
  async deleted(gone, tracklets) {
    this.search.query.drop(tracklets);
    this.search.current = null;
    await this.load();
    if (this.view() === "search") await this.search.run();
    else await this.route();
    say(gone.tracklets === null ? "Already deleted." : `${count(gone.tracklets, "tracklet")} deleted.`);
    (this.view() === "search" ? $("results") : $("main")).focus();
    if (gone.traces) throw new Error("Deleted, but another process reads the gallery: traces stay in its write-ahead log until the service can overwrite them.");
  }

  /** Read what the gallery holds. */
  async load() {
    [this.gallery, this.cameras] = await Promise.all([ask("/api/gallery"), askAll("/api/cameras")]);
    const { gallery } = this;
    $("name").textContent = gallery.name;
    $("counts").textContent = [
      count(gallery.tracklets, "tracklet"), count(gallery.cameras, "camera"), count(gallery.videos, "video"),
    ].join(" · ");
    this.filters.offer(gallery, this.cameras);
    this.search.query.detects = gallery.detects;
    $("from-video").disabled = $("delete-open").disabled = !gallery.videos;
  }

  /** Leave out what the token does not allow, and say why. */
  admit({ required, actor, role }) {
    this.role = role || ROLES.at(-1);
    for (const part of document.querySelectorAll("[data-least]")) {
      part.toggleAttribute("data-denied", !this.may(part.dataset.least));
    }
    const missing = {
      viewer: "You may look and search. Saying who is who and keeping cases take a token of an investigator, deleting one of an administrator.",
      investigator: "You may look, search, say who is who, and keep cases. Deleting takes a token of an administrator.",
    }[this.role];
    $("who-am-i").textContent = [required && `Signed in as ${actor}, ${this.role}.`, missing].filter(Boolean).join(" ");
    $("who-am-i").hidden = !required;
    $("sign-out").hidden = !required;
    $("menu").hidden = !required && !this.may("administrator");
  }

  async start() {
    let session = await ask("/api/session");
    if (session.required && !session.actor) {
      await askToken();
      session = await ask("/api/session");
    }
    this.admit(session);
    await this.load();
    await this.route();
  }

  wire() {
    drawIcons();
    wireClosing();
    wireMenus();
    onUnknown(askToken);
    wireSignIn();
    addEventListener("popstate", () => this.attempt(() => this.route()));
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-view]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.viewer.dialog.close();
      this.attempt(() => this.go(link.getAttribute("href")));
    });
    $("sign-out").addEventListener("click", () => this.attempt(async () => {
      sessionStorage.clear(); // images that were searched for
      await ask("/api/session", { method: "DELETE" });
      location.reload();
    }));
    $("from-video").addEventListener("click", () => this.attempt(() => this.viewer.openVideos(this.cameras)));
    $("delete-open").addEventListener("click", () => this.attempt(() => this.deletion.open(this.cameras)));
  }
}

/** Ask the user to sign in; resolves afterwards. */
function askToken() {
  const dialog = $("sign-in");
  if (!dialog.open) dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", done, { once: true }));
}

function wireSignIn() {
  $("sign-in").addEventListener("cancel", (event) => event.preventDefault());
  $("sign-in-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await ask("/api/session", { method: "POST", json: { token: $("token").value } });
      $("token").value = "";
      showProblem($("sign-in-problem"), null);
      $("sign-in").close();
    } catch (error) {
      showProblem($("sign-in-problem"), error.message);
    }
  });
}

const page = new Page();
page.ready = page.attempt(() => page.start()); // resolves when the first address is shown
