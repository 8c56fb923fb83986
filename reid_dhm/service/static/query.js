/* The query: images, a box in a frame, or a tracklet; and candidates confirmed or rejected. */

import { ask, askImage } from "./api.js";
import { Boxing, crop, thumbnail } from "./boxing.js";
import { $, el, image } from "./dom.js";
import { inWords } from "./format.js";

const MAX_IMAGES = 8;
const MAX_ASPECT = 0.75; // width over height above which an image may show several people

export class Query {
  constructor(changed, attempt) {
    this.changed = changed;
    this.attempt = attempt;
    this.items = []; // of one kind: "image", "frame" or "tracklet"
    this.pictures = null; // under which name the tab keeps which images
    this.confirmed = new Map(); // candidates by tracklet
    this.rejected = new Map();
    this.cutting = null;
    this.unclear = []; // images that may show several people, for which the user is asked for a box
    this.detects = false; // whether the service has a detector
    this.boxing = new Boxing($("cutter-stage"), $("cutter-image"), { part: 0.8, entered: () => this.cut(true) });
    $("cutter-use").addEventListener("click", () => this.cut(true));
    $("cutter-whole").addEventListener("click", () => this.cut(false));
    $("cutter").addEventListener("close", () => {
      this.boxing.stop();
      this.show();
      attempt(() => this.goOn());
    });
  }

  /** What tells one query from another. */
  key() {
    const items = this.items.map(({ kind, url, box, seen, video, frame }) => [kind, url, box, seen?.tracklet, video, frame]);
    return [items, [...this.confirmed.keys()], [...this.rejected.keys()]];
  }

  get images() {
    return this.items.filter((item) => item.kind === "image");
  }

  /** What tells the images from others. */
  imagesKey() {
    return JSON.stringify(this.images.map(({ url, box }) => [url, box]));
  }

  get empty() {
    return this.items.length === 0;
  }

  clear() {
    for (const item of this.items) if (item.url) URL.revokeObjectURL(item.url);
    this.items = [];
    this.pictures = null;
    this.unmark();
    this.show();
  }

  unmark() {
    this.confirmed.clear();
    this.rejected.clear();
  }

  /** Confirm or reject a candidate; a second time removes the mark. */
  mark(found, verdict) {
    const [into, other] = verdict === "confirmed" ? [this.confirmed, this.rejected] : [this.rejected, this.confirmed];
    other.delete(found.tracklet);
    if (!into.delete(found.tracklet)) into.set(found.tracklet, found);
  }

  /** Remove deleted tracklets; null for ones that only the service knows. */
  drop(tracklets) {
    const isGone = (tracklet) => tracklets === null || tracklets.includes(tracklet);
    for (const marks of [this.confirmed, this.rejected]) {
      for (const tracklet of [...marks.keys()]) if (isGone(tracklet)) marks.delete(tracklet);
    }
    const [first] = this.items;
    const itself = this.items.some((item) => item.kind === "tracklet" && isGone(item.seen.tracklet));
    if (itself || (first?.kind === "frame" && tracklets === null)) this.clear();
  }

  verdict(tracklet) {
    if (this.confirmed.has(tracklet)) return "confirmed";
    return this.rejected.has(tracklet) ? "rejected" : null;
  }

  /** Replace the query, or add images to images. */
  take(items) {
    const kind = items[0].kind;
    if (kind !== "image" || this.items.some((item) => item.kind !== "image")) this.clear();
    this.items.push(...items);
    this.show();
    // The search waits until the user has selected the person in such images.
    const isWide = ({ image }) => image?.naturalWidth > MAX_ASPECT * image?.naturalHeight;
    this.unclear = this.detects ? [] : items.filter(isWide);
    return this.goOn();
  }

  /** Ask for the box in the next such image; search when none is left. */
  goOn() {
    const item = this.unclear.shift();
    return item ? this.openCutter(item) : this.changed();
  }

  /** What an address says of the query and its marks; images are kept by this tab alone. */
  state() {
    const state = { confirmed: [...this.confirmed.keys()], rejected: [...this.rejected.keys()] };
    const [{ kind, video, frame, box } = {}] = this.items;
    if (kind === "tracklet") state.tracklet = this.items.map((item) => item.seen.tracklet);
    if (kind === "frame") Object.assign(state, { video, frame, box: box.join(",") });
    if (kind === "image") state.pictures = this.keepImages();
    return state;
  }

  /** Keep the crops of images until the tab is closed, so that a reload finds them. */
  keepImages() {
    const key = this.imagesKey();
    if (this.pictures?.key !== key || !sessionStorage.getItem(this.pictures.name)) {
      const data = JSON.stringify(this.images.map(({ image, box }) => crop(image, box).toDataURL("image/jpeg", 0.95)));
      this.pictures = { key, name: `pictures-${Date.now().toString(36)}` };
      try {
        sessionStorage.setItem(this.pictures.name, data);
      } catch {
        sessionStorage.clear(); // older ones make room
        sessionStorage.setItem(this.pictures.name, data);
      }
    }
    return this.pictures.name;
  }

  /** Read the query and its marks that an address, or a case, says; what is gone is left out. */
  async read({ tracklet = [], video, frame, box, pictures = null, images = [], confirmed = [], rejected = [] }) {
    const [seen, right, wrong] = await Promise.all([tracklet, confirmed, rejected].map(existing));
    const read = { right, wrong, pictures: null };
    if (seen.length) return { ...read, items: seen.map((each) => ({ kind: "tracklet", seen: each })) };
    if (video && box) return { ...read, items: [await this.frameItem(video, Number(frame), box.split(",").map(Number))] };
    const kept = pictures ? JSON.parse(sessionStorage.getItem(pictures) || "[]") : images;
    if (pictures && !kept.length) throw new Error("The images of this search were kept by another tab: choose them again");
    return { ...read, pictures, items: await Promise.all(kept.map((url) => this.imageItem(url))) };
  }

  /** Set the query and its marks to what was read. */
  restore({ items, pictures, right, wrong }) {
    this.clear();
    this.items = items;
    if (pictures) this.pictures = { key: this.imagesKey(), name: pictures };
    for (const found of right) this.confirmed.set(found.tracklet, found);
    for (const found of wrong) this.rejected.set(found.tracklet, found);
    this.show();
  }

  async frameItem(video, frame, box) {
    const [url, { camera }] = await Promise.all([askImage(`/api/videos/${video}/frames/${frame}`), ask(`/api/videos/${video}`)]);
    const shown = el("img", { src: url, alt: "" });
    await shown.decode();
    URL.revokeObjectURL(url);
    return { kind: "frame", video, frame, box, canvas: thumbnail(shown, box), words: `${camera}, frame ${frame}` };
  }

  /** An image that was cropped to the person before. */
  async imageItem(source) {
    const file = source instanceof Blob ? source : dataBlob(source);
    const url = URL.createObjectURL(file);
    const shown = el("img", { src: url, alt: "" });
    await shown.decode();
    return { kind: "image", file, url, image: shown, box: [0, 0, shown.naturalWidth, shown.naturalHeight] };
  }

  /** Add image files; asks for the box in those that may show several people. */
  async addFiles(files) {
    const room = MAX_IMAGES - this.items.filter((item) => item.kind === "image").length;
    if (files.length > room) throw new Error(`The limit is ${MAX_IMAGES} images`);
    const items = [];
    for (const file of files) {
      const url = URL.createObjectURL(file);
      const image = el("img", { src: url, alt: "" });
      try {
        await image.decode();
      } catch {
        URL.revokeObjectURL(url);
        throw new Error(`${file.name || "The image"} is damaged or not an image: choose JPEG, PNG or WebP`);
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

  /** Ask which of several people is meant, in the first image without a box; false if there is none. */
  choose(boxes) {
    const item = this.items.find(({ kind, box }) => kind === "image" && !box);
    if (item) this.attempt(() => this.openCutter(item, boxes));
    return Boolean(item);
  }

  async openCutter(item, people = []) {
    this.cutting = item;
    $("cutter-title").textContent = people.length ? "Which person?" : "Select the person";
    const shown = $("cutter-image");
    shown.src = item.url;
    await shown.decode();
    // Small images are enlarged, so that a finger can draw on them.
    const room = [innerWidth / shown.naturalWidth, (0.64 * innerHeight) / shown.naturalHeight];
    shown.style.width = `${shown.naturalWidth * Math.min(...room, 6)}px`;
    $("cutter").showModal();
    this.boxing.start(item.box || people[0]);
    this.showChoices(people);
    this.boxing.focus();
  }

  /** Boxes of the people who were found, to choose from. */
  showChoices(people) {
    const [width, height] = this.boxing.size();
    $("cutter-people").replaceChildren(...people.map(([x1, y1, x2, y2], index) => {
      const button = el("button", { type: "button", "aria-label": `Person ${index + 1}`, onclick: () => {
        this.boxing.set([x1, y1, x2, y2]);
        this.boxing.touched = true;
        $("cutter-use").focus();
      } }, el("span", { "aria-hidden": "true" }, String(index + 1)));
      const { style } = button;
      [style.left, style.top] = [`${(100 * x1) / width}%`, `${(100 * y1) / height}%`];
      [style.width, style.height] = [`${(100 * (x2 - x1)) / width}%`, `${(100 * (y2 - y1)) / height}%`];
      return button;
    }));
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
    $("queries").replaceChildren(...this.items.map((item) => this.card(item)));
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
    const marks = { confirmed: [...this.confirmed.keys()], rejected: [...this.rejected.keys()] };
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
      form.append("pictures", item.file, "image"); // the service does not need the file's name
      form.append("boxes", item.box ? item.box.join(",") : "");
    }
    for (const [name, value] of Object.entries({ ...conditions, ...marks })) {
      for (const one of [value].flat()) form.append(name, one);
    }
    return ask("/api/search/pictures", { method: "POST", form });
  }

  /** Show the boxes that the service's detector found. */
  located(boxes) {
    this.items.forEach((item, place) => { if (item.kind === "image") item.box ??= boxes[place]; });
    this.show();
  }
}

/** The tracklets of these ids, but for deleted ones. */
async function existing(ids) {
  const found = await Promise.all(ids.map((id) => ask(`/api/tracklets/${id}`).catch((error) => {
    if (error.status !== 404) throw error;
    return null;
  })));
  return found.filter(Boolean);
}

function dataBlob(url) {
  const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (one) => one.charCodeAt(0));
  return new Blob([bytes], { type: "image/jpeg" });
}
