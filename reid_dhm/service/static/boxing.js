/* Drawing a box on an image, with a pointer or with the keyboard. Boxes are in the image's pixels. */

import { el } from "./dom.js";

const SMALLEST = 8;

/** A box that can be drawn on a stage: an element around an image. */
export class Boxing {
  constructor(stage, image, { part, entered }) {
    this.stage = stage;
    this.image = image;
    this.part = part; // of the image's height, that a first box takes
    this.box = null;
    this.active = false;
    this.drag = null;
    this.touched = false; // the initial box, until it is drawn or moved
    this.handle = el("div", { class: "cut", tabindex: "0", role: "application", "aria-roledescription": "box" });
    for (const [x, y] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
      this.handle.append(el("i", { "data-x": x, "data-y": y }));
    }
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { this.drag = null; });
    this.handle.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        entered();
      } else {
        this.key(event);
      }
    });
  }

  /** Let a box be drawn, beginning with one in the middle or the one given. */
  start(box = null) {
    this.active = true;
    this.stage.classList.add("drawn");
    const [width, height] = this.size();
    const tall = height * this.part;
    const wide = Math.min(width * 0.9, tall / 2.4);
    this.set(box || [(width - wide) / 2, (height - tall) / 2, (width + wide) / 2, (height + tall) / 2]);
    this.touched = false;
    this.stage.append(this.handle);
  }

  stop() {
    this.active = false;
    this.box = null;
    this.stage.classList.remove("drawn");
    this.handle.remove();
  }

  focus() {
    this.handle.focus({ preventScroll: true });
  }

  size() {
    return [this.image.naturalWidth, this.image.naturalHeight];
  }

  set(box) {
    const [width, height] = this.size();
    const clamp = (value, most) => Math.min(Math.max(value, 0), most);
    let [x1, y1, x2, y2] = [clamp(box[0], width), clamp(box[1], height), clamp(box[2], width), clamp(box[3], height)];
    [x1, x2] = [Math.min(x1, x2), Math.max(x1, x2)];
    [y1, y2] = [Math.min(y1, y2), Math.max(y1, y2)];
    x2 = Math.max(x2, Math.min(x1 + SMALLEST, width));
    y2 = Math.max(y2, Math.min(y1 + SMALLEST, height));
    this.box = [x1, y1, x2, y2].map(Math.round);
    const { style } = this.handle;
    style.left = `${(100 * x1) / width}%`;
    style.top = `${(100 * y1) / height}%`;
    style.width = `${(100 * (x2 - x1)) / width}%`;
    style.height = `${(100 * (y2 - y1)) / height}%`;
    const [left, top, right, bottom] = this.box;
    this.handle.setAttribute(
      "aria-label",
      `${right - left} wide and ${bottom - top} tall, ${left} from the left, ${top} from the top. ` +
        "Arrow keys move it, with Shift they resize it, Enter uses it.",
    );
  }

  at(event) {
    const area = this.image.getBoundingClientRect();
    const [width, height] = this.size();
    return [((event.clientX - area.left) / area.width) * width, ((event.clientY - area.top) / area.height) * height];
  }

  down(event) {
    if (!this.active || event.button !== 0 || event.target.closest("button")) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    const [x, y] = this.at(event);
    const corner = event.target.closest("i");
    if (corner) {
      const [x1, y1, x2, y2] = this.box;
      this.drag = { anchor: [corner.dataset.x === "0" ? x2 : x1, corner.dataset.y === "0" ? y2 : y1] };
    } else if (event.target === this.handle && this.touched) {
      this.drag = { from: [x, y], box: this.box };
    } else {
      this.drag = { anchor: [x, y] };
    }
    this.touched = true;
    this.focus();
  }

  move(event) {
    if (!this.drag) return;
    const [x, y] = this.at(event);
    if (this.drag.anchor) {
      this.set([...this.drag.anchor, x, y]);
    } else {
      this.shift(this.drag.box, x - this.drag.from[0], y - this.drag.from[1]);
    }
  }

  shift([x1, y1, x2, y2], dx, dy) {
    const [width, height] = this.size();
    const right = Math.min(Math.max(dx, -x1), width - x2);
    const down = Math.min(Math.max(dy, -y1), height - y2);
    this.set([x1 + right, y1 + down, x2 + right, y2 + down]);
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    this.touched = true;
    const step = Math.max(1, Math.round(Math.max(...this.size()) / (event.ctrlKey ? 400 : 80)));
    const [dx, dy] = [way[0] * step, way[1] * step];
    const [x1, y1, x2, y2] = this.box;
    if (event.shiftKey) this.set([x1, y1, Math.max(x2 + dx, x1 + SMALLEST), Math.max(y2 + dy, y1 + SMALLEST)]);
    else this.shift(this.box, dx, dy);
  }
}

/** The part of a shown image inside a box, as a small canvas. */
export function thumbnail(image, box, width = 86, height = 118) {
  return crop(image, box, (across, down) => Math.min(width / across, height / down));
}

/** The part of an image inside a box, as a canvas; of the same size, if that is not too large. */
export function crop(image, box, scaled = (across, down) => Math.min(1, 1024 / Math.max(across, down))) {
  const [x1, y1, x2, y2] = box || [0, 0, image.naturalWidth, image.naturalHeight];
  const scale = scaled(x2 - x1, y2 - y1);
  const canvas = el("canvas", { role: "img", "aria-label": "The person searched for" });
  canvas.width = Math.max(1, Math.round((x2 - x1) * scale));
  canvas.height = Math.max(1, Math.round((y2 - y1) * scale));
  canvas.getContext("2d").drawImage(image, x1, y1, x2 - x1, y2 - y1, 0, 0, canvas.width, canvas.height);
  return canvas;
}
