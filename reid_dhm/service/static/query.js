/* What is searched for: images, a box in a frame, or a tracklet; and which hits were right. */

import { ask } from "./api.js";
import { Boxing, thumbnail } from "./boxing.js";
import { $, el, image } from "./dom.js";
import { inWords } from "./format.js";

const MOST_IMAGES = 8;
const WIDEST = 0.75; // an image that is wider than this part of its height hardly shows one person alone

export class Query {
  constructor(changed, attempt) {
    this.changed = changed;
    this.attempt = attempt;
    this.items = []; // of one kind: "image", "frame" or "tracklet"
    this.right = new Map(); // hits by tracklet
    this.wrong = new Map();
    this.cutting = null;
    this.unclear = []; // images that may show several people, to be asked about
    this.detects = false; // whether the service finds the person by itself
    this.boxing = new Boxing($("cutter-stage"), $("cutter-image"), { part: 0.8, entered: () => this.cut(true) });
    $("cutter-use").addEventListener("click", () => this.cut(true));
    $("cutter-whole").addEventListener("click", () => this.cut(false));
    $("cutter").addEventListener("close", () => {
      this.boxing.stop();
      this.show();
      attempt(() => this.goOn());
    });
  }

  get empty() {
    return this.items.length === 0;
  }

  clear() {
    for (const item of this.items) if (item.url) URL.revokeObjectURL(item.url);
    this.items = [];
    this.unmark();
    this.show();
  }

  unmark() {
    this.right.clear();
    this.wrong.clear();
  }

  /** Say that a hit was right or wrong, or neither when it is said twice. */
  mark(hit, verdict) {
    const [into, other] = verdict === "right" ? [this.right, this.wrong] : [this.wrong, this.right];
    other.delete(hit.tracklet);
    if (!into.delete(hit.tracklet)) into.set(hit.tracklet, hit);
  }

  /** Forget tracklets that were deleted; null for such as only the service knows. */
  forget(tracklets) {
    const isGone = (tracklet) => tracklets === null || tracklets.includes(tracklet);
    for (const marks of [this.right, this.wrong]) {
      for (const tracklet of [...marks.keys()]) if (isGone(tracklet)) marks.delete(tracklet);
    }
    const [first] = this.items;
    const itself = this.items.some((item) => item.kind === "tracklet" && isGone(item.seen.tracklet));
    if (itself || (first?.kind === "frame" && tracklets === null)) this.clear();
  }

  verdict(tracklet) {
    if (this.right.has(tracklet)) return "right";
    return this.wrong.has(tracklet) ? "wrong" : null;
  }

  /** Begin anew with items of a kind, or add images to images. */
  take(items) {
    const kind = items[0].kind;
    if (kind !== "image" || this.items.some((item) => item.kind !== "image")) this.clear();
    this.items.push(...items);
    this.show();
    // Where an image may show several people, the search waits for who is meant.
    const isWide = ({ image }) => image?.naturalWidth > WIDEST * image?.naturalHeight;
    this.unclear = this.detects ? [] : items.filter(isWide);
    return this.goOn();
  }

  /** Ask about the next image that may show several people; search when none is left. */
  goOn() {
    const item = this.unclear.shift();
    return item ? this.openCutter(item) : this.changed();
  }

  /** Add image files; asks where the person is in those that may show more. */
  async addFiles(files) {
    const room = MOST_IMAGES - this.items.filter((item) => item.kind === "image").length;
    if (files.length > room) throw new Error(`${MOST_IMAGES} images are the most: leave some out`);
    const items = [];
    for (const file of files) {
      const url = URL.createObjectURL(file);
      const image = el("img", { src: url, alt: "" });
      try {
        await image.decode();
      } catch {
        URL.revokeObjectURL(url);
        throw new Error(`${file.name || "The image"} is damaged or no image: choose a JPEG, a PNG or a WebP`);
      }
      items.push({ kind: "image", file, url, image, box: null });
    }
    if (items.length) await this.take(items);
  }

  takeTracklet(seen) {
    return this.take([{ kind: "tracklet", seen }]);
  }

  takeFrame(video, frame, box, image, words) {
    return this.take([{ kind: "frame", video, frame, box, canvas: thumbnail(image, box), words }]);
  }

  async openCutter(item) {
    this.cutting = item;
    const shown = $("cutter-image");
    shown.src = item.url;
    await shown.decode();
    // Small images are enlarged, so that a finger can draw on them.
    const room = [innerWidth / shown.naturalWidth, (0.64 * innerHeight) / shown.naturalHeight];
    shown.style.width = `${shown.naturalWidth * Math.min(...room, 6)}px`;
    $("cutter").showModal();
    this.boxing.start(item.box);
    this.boxing.focus();
  }

  cut(boxed) {
    const { image } = this.cutting;
    this.cutting.box = boxed ? this.boxing.box : [0, 0, image.naturalWidth, image.naturalHeight];
    $("cutter").close();
  }

  remove(item) {
    if (item.url) URL.revokeObjectURL(item.url);
    this.items = this.items.filter((other) => other !== item);
    this.show();
    this.changed();
    $("files").focus();
  }

  show() {
    $("asked").replaceChildren(...this.items.map((item) => this.card(item)));
    $("clear").hidden = this.empty;
  }

  card(item) {
    const remove = el("button", { type: "button", onclick: () => this.remove(item), "aria-label": "Remove" }, "Remove");
    if (item.kind === "tracklet") {
      const { tracklet } = item.seen;
      return el("li", {}, el("div", { class: "image" }, image(`/api/tracklets/${tracklet}/thumbnail`, `Person seen by ${inWords(item.seen)}`)), el("p", {}, item.seen.camera), remove);
    }
    if (item.kind === "frame") return el("li", {}, el("div", { class: "image" }, item.canvas), el("p", {}, item.words), remove);
    const box = el("button", { type: "button", onclick: () => this.attempt(() => this.openCutter(item)) }, item.box ? "Change box" : "Draw a box");
    return el("li", {}, el("div", { class: "image" }, thumbnail(item.image, item.box)), box, remove);
  }

  /** Search; the conditions are those of the service's interface. */
  run(conditions) {
    const marks = { confirmed: [...this.right.keys()], rejected: [...this.wrong.keys()] };
    const [{ kind, video, frame, box }] = this.items;
    if (kind === "frame") {
      return ask("/api/search/frame", { method: "POST", json: { ...conditions, ...marks, video, frame, box } });
    }
    if (kind === "tracklet") {
      const tracklets = this.items.map((item) => item.seen.tracklet);
      return ask("/api/search/tracklets", { method: "POST", json: { ...conditions, ...marks, tracklets } });
    }
    const form = new FormData();
    for (const item of this.items) {
      form.append("pictures", item.file, "image"); // the service has no use for the file's name
      form.append("boxes", item.box ? item.box.join(",") : "");
    }
    for (const [name, value] of Object.entries({ ...conditions, ...marks })) {
      for (const one of [value].flat()) form.append(name, one);
    }
    return ask("/api/search/pictures", { method: "POST", form });
  }

  /** Show where the service looked for the person in images without a box. */
  located(boxes) {
    this.items.forEach((item, place) => { if (item.kind === "image") item.box ??= boxes[place]; });
    this.show();
  }
}
