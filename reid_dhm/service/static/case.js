/* The open case: its title and notes, saved with the search and its marks as they change. */

import { ask, askFile } from "./api.js";
import { show } from "./address.js";
import { askText } from "./dialogs.js";
import { $, count } from "./dom.js";
import { crop } from "./boxing.js";

const REST = 500; // milliseconds without a change, after which it is saved

export class CaseFile {
  /** `search` is the search whose query, marks and filter the case keeps. */
  constructor(search, attempt) {
    this.search = search;
    this.attempt = attempt;
    this.stored = null; // null while no case is open
    this.timer = null; // of a change that is not saved yet
    this.sent = null; // what was saved last: the content, and which images
    $("save-case").addEventListener("click", () => attempt(() => this.create()));
    for (const id of ["case-title", "case-notes"]) $(id).addEventListener("input", () => this.save());
    $("case-close").addEventListener("click", () => attempt(async () => {
      await this.close();
      this.search.keepAddress();
      this.search.showVerdicts();
    }));
    // What is exported is what is saved.
    $("case-report").addEventListener("click", () => attempt(() => this.saveNow()));
  }

  /** Save and close the case; it stays open if it cannot be saved. */
  async close() {
    const { stored } = this;
    try {
      await this.saveNow();
    } catch (error) {
      if (!(await this.isGone(stored.id))) throw error;
    }
    if (this.stored?.id !== stored?.id) return;
    this.stored = null;
    $("case-bar").hidden = true;
  }

  /** Whether a case was deleted meanwhile: its changes have no place any more. */
  async isGone(number) {
    try {
      await ask(`/api/cases/${number}`);
      return false;
    } catch (error) {
      return error.status === 404;
    }
  }

  /** Make a case of the search and its marks. */
  async create() {
    const title = await askText({ title: "Save a case", label: "Title", words: "The case keeps the images searched for, the filter, what is confirmed and rejected, and your notes." });
    if (!title) return;
    const content = this.content(title, "");
    this.begin(await ask("/api/cases", { method: "POST", json: content }), content);
    show(`/cases/${this.stored.id}`);
    this.search.shown = `case ${this.stored.id}`;
    this.search.showVerdicts();
    $("case-notes").focus();
    await this.saveNow(); // the images
  }

  async sendImages(id, items) {
    const form = new FormData();
    for (const { image, box } of items) {
      form.append("pictures", await new Promise((done) => crop(image, box).toBlob(done, "image/jpeg", 0.95)), "image");
    }
    return ask(`/api/cases/${id}/pictures`, { method: "PUT", form });
  }

  /** Read a case and the state of the search that it keeps. */
  async load(number) {
    const found = await ask(`/api/cases/${number}`);
    const images = await Promise.all(found.images.map((image) => askFile(`/api/cases/${number}/pictures/${image}`)));
    const { cameras: camera, after: from, before: to, tracklets: tracklet, top_k: top, min_similarity: min, box, video, frame } = found.search;
    const marked = (confirmed) => found.marks.filter((mark) => mark.confirmed === confirmed).map((mark) => mark.tracklet);
    const state = {
      camera, from, to, tracklet, top, min, video, frame, images,
      box: box?.join(","), confirmed: marked(true), rejected: marked(false),
    };
    return { found, state };
  }

  /** Keep the search in this case from now on; by default it shows what the case holds. */
  begin(found, content = null) {
    this.stored = found;
    this.sent = {
      content: JSON.stringify(content || this.content(found.title, found.notes)),
      images: found.images.length ? this.search.query.imagesKey() : "[]",
    };
    $("case-title").value = found.title;
    $("case-notes").value = found.notes;
    $("case-report").href = `/api/cases/${found.id}/report`;
    $("case-bar").hidden = false;
    this.tell();
  }

  /** What the service keeps of the case. */
  content(title, notes) {
    const { query, page } = this.search;
    const { tracklet, video, frame, box } = query.state();
    const search = { ...page.filters.conditions(), ...page.filters.bounds() };
    if (tracklet) search.tracklets = tracklet;
    if (video) Object.assign(search, { video, frame, box: box.split(",").map(Number) });
    const mark = (confirmed) => ({ tracklet, similarity = null, probability = null }) => ({ tracklet, confirmed, similarity, probability });
    const marks = [...[...query.confirmed.values()].map(mark(true)), ...[...query.rejected.values()].map(mark(false))];
    const noted = new Map(this.stored?.marks.map((each) => [each.tracklet, each.note]));
    for (const each of marks) each.note = noted.get(each.tracklet) || "";
    return { title, notes, search, marks };
  }

  /** Save soon; several changes are saved together. */
  save() {
    if (!this.stored) return;
    clearTimeout(this.timer);
    $("case-state").textContent = "Not saved yet…";
    this.timer = setTimeout(() => this.attempt(() => this.saveNow()), REST);
  }

  async saveNow() {
    clearTimeout(this.timer);
    this.timer = null;
    const { stored, sent, search: { query } } = this;
    if (!stored) return;
    const path = `/api/cases/${stored.id}`;
    if (!$("case-title").value.trim()) throw new Error("Not saved: the case needs a title");
    const json = this.content($("case-title").value, $("case-notes").value);
    const [content, images] = [JSON.stringify(json), query.imagesKey()];
    let saved = null;
    if (content !== sent.content) {
      saved = await ask(path, { method: "PUT", json });
      sent.content = content;
    }
    if (images !== sent.images) {
      // The last images stay in a case whose query has none any more.
      if (query.images.length) saved = await this.sendImages(stored.id, query.images);
      sent.images = images;
    }
    if (this.stored?.id !== stored.id) return;
    if (saved) this.stored = saved;
    this.tell();
  }

  tell() {
    if (this.timer) return; // there is a later change
    const confirmed = this.stored.marks.filter((mark) => mark.confirmed).length;
    const time = new Date(this.stored.changed).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    $("case-state").textContent = `Saved ${time}; ${count(confirmed, "confirmed appearance")}, of which alone the report tells.`;
    $("case-report").hidden = !confirmed;
  }
}
