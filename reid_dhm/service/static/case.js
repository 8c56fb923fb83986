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
    this.stored = null;
    $("save-case").addEventListener("click", () => attempt(() => this.create()));
    for (const id of ["case-title", "case-notes"]) $(id).addEventListener("input", () => this.save());
    $("case-close").addEventListener("click", () => {
      this.close();
      this.search.keepAddress();
      this.search.showVerdicts();
    });
    // What is exported is what is saved.
    $("case-report").addEventListener("click", () => attempt(() => this.saveNow()));
  }

  close() {
    this.saveNow().catch(() => {});
    this.stored = null;
    $("case-bar").hidden = true;
  }

  /** Make a case of the search and its marks. */
  async create() {
    const title = await askText({ title: "Save a case", label: "Title", words: "The case keeps the images searched for, the filter, what is confirmed and rejected, and your notes." });
    if (!title) return;
    const made = await ask("/api/cases", { method: "POST", json: this.content(title, "") });
    const images = this.search.query.items.filter((item) => item.kind === "image");
    if (images.length) await this.sendImages(made.id, images);
    this.begin(made);
    show(`/cases/${made.id}`);
    this.search.shown = `case ${made.id}`;
    this.search.showVerdicts();
    $("case-notes").focus();
  }

  async sendImages(id, items) {
    const form = new FormData();
    for (const { image, box } of items) {
      form.append("pictures", await new Promise((done) => crop(image, box).toBlob(done, "image/jpeg", 0.95)), "image");
    }
    await ask(`/api/cases/${id}/pictures`, { method: "PUT", form });
  }

  /** Open a case; resolves to the state of the search that it keeps. */
  async load(number) {
    const found = await ask(`/api/cases/${number}`);
    const images = await Promise.all(found.images.map((image) => askFile(`/api/cases/${number}/pictures/${image}`)));
    this.begin(found);
    const { cameras: camera, after: from, before: to, tracklets: tracklet, top_k: top, min_similarity: min, box, video, frame } = found.search;
    const marked = (confirmed) => found.marks.filter((mark) => mark.confirmed === confirmed).map((mark) => mark.tracklet);
    return {
      camera, from, to, tracklet, top, min, video, frame, images,
      box: box?.join(","), confirmed: marked(true), rejected: marked(false),
    };
  }

  begin(found) {
    this.stored = found;
    this.sent = null;
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
    const { stored } = this;
    if (!stored || !$("case-title").value.trim()) return;
    const json = this.content($("case-title").value, $("case-notes").value);
    const text = JSON.stringify(json);
    if (text !== this.sent) {
      const saved = await ask(`/api/cases/${stored.id}`, { method: "PUT", json });
      if (this.stored?.id !== stored.id) return;
      this.stored = saved;
      this.sent = text;
    }
    this.tell();
  }

  tell() {
    const confirmed = this.stored.marks.filter((mark) => mark.confirmed).length;
    const time = new Date(this.stored.changed).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    $("case-state").textContent = `Saved ${time}; ${count(confirmed, "confirmed appearance")}, of which alone the report tells.`;
    $("case-report").hidden = !confirmed;
  }
}
