/* The viewer: frames of a video, played or stepped through, the people in them, and a box to draw. */

import { ask, askAll, askImage } from "./api.js";
import { Boxing } from "./boxing.js";
import { $, count, el, image, showProblem } from "./dom.js";
import { chance, date, likeness, moment, span } from "./format.js";
import { Playback } from "./playback.js";
import { personLink } from "./statements.js";

const KEPT = 48; // frames in memory, for stepping back and forth

/** The viewer; `actions` are what the page can do with the person shown. */
export class Viewer {
  constructor(actions) {
    this.actions = actions;
    this.dialog = $("viewer");
    this.cache = new Map();
    this.frames = [];
    this.playback = new Playback(this);
    $("all-boxes").addEventListener("change", () => this.showBoxes());
    this.boxing = new Boxing($("stage"), $("frame"), { part: 0.25, entered: () => this.useBox() });
    $("draw").addEventListener("click", () => this.draw(!this.boxing.active));
    $("use-box").addEventListener("click", () => this.useBox());
    $("seek").addEventListener("input", () => this.stepTo(Number($("seek").value)));
    const steps = { first: () => 0, previous: () => this.place - 1, next: () => this.place + 1, last: () => this.frames.length - 1 };
    for (const [id, place] of Object.entries(steps)) $(id).addEventListener("click", () => this.stepTo(place()));
    $("viewer-camera").addEventListener("change", () => this.attempt(async () => {
      await this.listVideos();
      await this.openChosen();
    }));
    $("viewer-video").addEventListener("change", () => this.attempt(() => this.openChosen()));
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("close", () => this.reset());
  }

  /** Run an action and show its error in the viewer. */
  async attempt(action) {
    try {
      await action();
    } catch (error) {
      showProblem($("viewer-problem"), error.message);
    }
  }

  reset() {
    this.draw(false);
    this.playback.stop();
    this.loading?.abort();
    for (const kept of this.cache.values()) kept.then(({ url }) => URL.revokeObjectURL(url), () => {});
    this.cache.clear();
    this.video = this.person = null;
    $("frame").removeAttribute("src");
    $("frame").alt = "";
    $("people").replaceChildren();
  }

  /** Show a tracklet; a candidate has a similarity. */
  async openPerson(seen) {
    this.reset();
    const [video, person] = await Promise.all([
      ask(`/api/videos/${seen.video}`),
      ask(`/api/tracklets/${seen.tracklet}`),
    ]);
    this.begin(video, { ...seen, ...person }, person.boxes.map((box) => box.frame));
    this.go(this.frames.indexOf(person.frame));
  }

  /** Show a video to pick a person from. */
  async openVideos(cameras) {
    this.reset();
    $("viewer-camera").replaceChildren(...cameras.filter((camera) => camera.videos).map((camera) =>
      el("option", {}, camera.name)));
    await this.listVideos();
    await this.openChosen();
  }

  async listVideos() {
    const camera = encodeURIComponent($("viewer-camera").value);
    this.videos = await askAll(`/api/videos?camera=${camera}`);
    $("viewer-video").replaceChildren(...this.videos.map((video) =>
      el("option", { value: video.video }, video.start_time ? `${moment(video, 0)} (${video.source})` : video.source)));
  }

  async openChosen() {
    const video = this.videos.find((other) => other.video === $("viewer-video").value);
    if (!video) return;
    this.reset();
    const frames = Array.from({ length: video.last_frame + 1 }, (_, number) => number);
    this.begin(video, null, frames);
    const first = await ask(`/api/tracklets?video=${video.video}&limit=1`);
    this.go(first.items.length ? first.items[0].frame : 0);
  }

  begin(video, person, frames) {
    this.video = video;
    this.frames = frames;
    this.person = person;
    this.picking = person === null;
    $("pick").hidden = !this.picking;
    $("seek").max = frames.length - 1;
    $("viewer-title").textContent = this.picking ? "Pick a person from a video" : [video.camera, person && date(person)].filter(Boolean).join(" · ");
    this.showPerson();
    if (!this.dialog.open) this.dialog.showModal();
    $("next").focus();
  }

  /** Stop playing, and show another frame. */
  stepTo(place) {
    this.playback.stop();
    return this.go(place);
  }

  /** Seconds of a place from the video's start. */
  timeOf(place) {
    const known = this.person?.boxes[place];
    return known && known.frame === this.frames[place] ? known.time : this.frames[place] / this.video.fps;
  }

  get number() {
    return this.frames[this.place];
  }

  /** Where the person is in this frame. */
  get known() {
    return this.person?.boxes.find((box) => box.frame === this.number);
  }

  /** Show a frame by its place in the list of frames; resolves to whether it was shown. */
  async go(place) {
    this.place = Math.min(Math.max(place, 0), this.frames.length - 1);
    $("seek").value = this.place;
    $("first").disabled = $("previous").disabled = this.place === 0;
    $("last").disabled = $("next").disabled = this.place === this.frames.length - 1;
    const seconds = this.known ? this.known.time : this.number / this.video.fps;
    $("moment").textContent = `Frame ${this.number} · ${moment(this.video, seconds)}`;
    $("seek").setAttribute("aria-valuetext", $("moment").textContent);
    this.markCrop();
    this.loading?.abort();
    const { signal } = (this.loading = new AbortController());
    const { number, video } = this;
    try {
      const { url, seen } = await this.load(number);
      if (signal.aborted) return false;
      const shown = $("frame");
      shown.src = url;
      await shown.decode();
      if (signal.aborted) return false;
      shown.alt = `Frame ${number} of camera ${video.camera}, with ${count(seen.length, "person", "people")}`;
      this.showPeople(seen);
      this.showStage(null);
      this.prepare(this.place + 1);
      return true;
    } catch (error) {
      if (!signal.aborted) this.showStage(error.message);
      return false;
    }
  }

  /** Load a frame that is likely to be shown next. */
  prepare(place) {
    if (place < this.frames.length) this.load(this.frames[place]).catch(() => {});
  }

  /** The image of a frame, and the people in it. */
  load(number) {
    if (!this.video.reachable) {
      return Promise.reject(new Error("The video is not available, so its frames cannot be shown; crops can."));
    }
    const known = this.cache.get(number);
    if (known) return known;
    const path = `/api/videos/${this.video.video}/frames/${number}`;
    const loaded = Promise.all([askImage(path), ask(`${path}/people`)]).then(([url, seen]) => ({ url, seen }));
    this.cache.set(number, loaded);
    loaded.catch(() => this.cache.delete(number));
    if (this.cache.size > KEPT) {
      const [oldest, dropped] = this.cache.entries().next().value;
      this.cache.delete(oldest);
      dropped.then(({ url }) => URL.revokeObjectURL(url), () => {});
    }
    return loaded;
  }

  showStage(problem) {
    showProblem($("viewer-problem"), problem);
    $("stage").hidden = $("drawing").hidden = $("steps").hidden = Boolean(problem);
    $("people-help").hidden = Boolean(problem) || this.boxing.active;
    if (problem) this.draw(false);
  }

  showPeople(seen) {
    const [width, height] = [this.video.width, this.video.height];
    $("people").replaceChildren(...seen.map(({ tracklet, box: [x1, y1, x2, y2], person }) => {
      const track = tracklet.split("-")[1];
      const button = el("button", {
        type: "button",
        "aria-label": person || `Person ${track}`,
        "aria-current": this.person?.tracklet === tracklet ? "true" : null,
        "data-tracklet": tracklet,
        onclick: () => this.attempt(() => this.choose(tracklet)),
      }, el("span", { "aria-hidden": "true" }, person || track));
      button.style.left = `${(100 * x1) / width}%`;
      button.style.top = `${(100 * y1) / height}%`;
      button.style.width = `${(100 * (x2 - x1)) / width}%`;
      button.style.height = `${(100 * (y2 - y1)) / height}%`;
      return button;
    }));
    this.showBoxes();
    $("people-help").textContent = seen.length
      ? "Choose a person by a box, or draw a box around anybody else."
      : "No person was detected in this frame: draw a box around one.";
  }

  /** Show the boxes of all, or of the person alone. */
  showBoxes() {
    $("boxes-choice").hidden = !this.person;
    const all = $("all-boxes").checked || !this.person;
    for (const button of $("people").children) {
      button.hidden = !all && button.dataset.tracklet !== this.person.tracklet;
    }
    $("clip").hidden = !this.person || !this.video.reachable;
    if (this.person) $("clip").href = `/api/tracklets/${this.person.tracklet}/clip?boxes=${all ? "all" : "one"}`;
  }

  /** Show the details of a person in the frame. */
  async choose(tracklet) {
    this.person = await ask(`/api/tracklets/${tracklet}`);
    if (!this.picking) {
      const { number } = this;
      this.frames = this.person.boxes.map((box) => box.frame);
      $("seek").max = this.frames.length - 1;
      this.stepTo(this.frames.indexOf(number));
    }
    this.showPerson();
    this.showBoxes();
    for (const button of $("people").children) {
      if (button.dataset.tracklet === tracklet) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  showPerson() {
    const { person } = this;
    $("viewer-side").hidden = !person;
    if (!person) return;
    const facts = [
      ["Camera", person.camera],
      ["Day", date(person)],
      ["Seen", span(person)],
      ["Frames", person.num_boxes.toLocaleString("en")],
      ["Person", person.person_id && personLink(person.person_id, person.person)],
      ["Similarity", person.similarity === undefined ? null : likeness(person)],
      ["Same person", person.probability == null ? null : chance(person.probability)],
      ["Id", el("code", {}, person.tracklet)],
    ].filter(([, value]) => value !== null && value !== undefined);
    const list = el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    const crops = el("ul", { class: "crops", "aria-label": "Best crops" }, ...person.crops.map((crop) =>
      el("li", {}, el("button", { type: "button", "data-frame": crop.frame, "aria-label": `Image ${crop.rank + 1}: go to frame ${crop.frame}`, onclick: () => this.goTo(crop.frame) },
        image(`/api/tracklets/${person.tracklet}/crops/${crop.rank}`, "")))));
    $("viewer-side").replaceChildren(crops, list, this.tools(person));
    this.markCrop();
  }

  tools(person) {
    const { actions } = this;
    const mark = (verdict, text) => el("button", {
      type: "button",
      class: `mark-${verdict}`,
      "aria-pressed": String(actions.verdict(person.tracklet) === verdict),
      onclick: () => { actions.mark(person, verdict); this.showPerson(); $("viewer-side").querySelector(`.mark-${verdict}`).focus(); },
    }, text);
    const marks = actions.isCandidate(person.tracklet) ? [mark("confirmed", "✓ Confirm"), mark("rejected", "✗ Reject")] : [];
    return el("div", { class: "side-tools" }, ...marks,
      el("button", { type: "button", class: "primary wide", id: "find-person", onclick: () => { this.dialog.close(); actions.find(person); } }, "Find this person"),
      actions.may("administrator") && el("details", { class: "menu wide" },
        el("summary", { class: "button" }, "More"),
        el("div", { class: "menu-items" }, el("button", { type: "button", id: "delete-tracklet", onclick: async () => { if (await actions.remove(person)) this.dialog.close(); } }, "Delete this tracklet…"))));
  }

  markCrop() {
    for (const button of $("viewer-side").querySelectorAll(".crops button")) {
      if (Number(button.dataset.frame) === this.number) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  goTo(frame) {
    const place = this.frames.indexOf(frame);
    if (place >= 0) this.stepTo(place);
  }

  draw(wanted) {
    if (wanted) this.playback.stop();
    if (wanted && !this.boxing.active) {
      this.boxing.start(this.known?.box);
      this.boxing.focus();
    } else if (!wanted && this.boxing.active) {
      this.boxing.stop();
    }
    $("draw").setAttribute("aria-pressed", String(wanted));
    $("use-box").hidden = $("draw-help").hidden = !wanted;
    $("people-help").hidden = wanted;
  }

  useBox() {
    const { video, number } = this;
    const { box } = this.boxing;
    const words = `${video.camera}, frame ${number}`;
    this.actions.findBox(video.video, number, box, $("frame"), words);
    this.dialog.close();
  }

  key(event) {
    if (event.key === "Escape" && this.boxing.active) {
      event.preventDefault(); // one thing at a time: the drawing, then the viewer
      this.draw(false);
      $("draw").focus();
      return;
    }
    if (event.target.closest("input:not([type=checkbox]), select, .cut")) return;
    if (event.key === "p") this.playback.toggle();
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    this.stepTo(this.place + way);
  }
}
