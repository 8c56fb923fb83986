/* Where and when: cameras, a span of time, and how many hits. */

import { $, el } from "./dom.js";
import { zoneOf } from "./format.js";

export class Filters {
  constructor(changed) {
    this.zone = "Z";
    $("kind").addEventListener("change", () => this.showEnds());
    for (const id of ["cameras", "span"]) $(id).addEventListener("change", changed);
    $("top-k").addEventListener("change", changed);
  }

  /** Offer the cameras and the kinds of time that a gallery has. */
  offer(gallery, cameras) {
    const { start_time: timed, untimed } = gallery;
    const ticked = new Set(this.cameras());
    $("cameras").replaceChildren(...cameras.map((camera) =>
      el("label", {},
        el("input", { type: "checkbox", name: "camera", value: camera.name, checked: ticked.has(camera.name) }),
        el("span", {}, camera.name),
        el("small", {}, camera.tracklets.toLocaleString("en")))));
    if (!cameras.length) $("cameras").append(el("p", { class: "small" }, "No camera yet."));
    $("kind-label").hidden = !(timed && untimed);
    if (!timed) $("kind").value = "seconds";
    else if (!untimed) $("kind").value = "clock";
    if (timed) {
      this.zone = /(Z|[+-]\d\d:\d\d)$/.exec(timed)[1];
      $("zone").textContent = `Times are ${zoneOf(timed)}, as recorded.`;
    }
    this.showEnds();
  }

  showEnds() {
    const kind = $("kind").value;
    for (const ends of document.querySelectorAll("#span .ends")) ends.hidden = ends.dataset.kind !== kind;
    $("zone").hidden = kind !== "clock" || !$("zone").textContent;
  }

  cameras() {
    return [...document.querySelectorAll("#cameras input:checked")].map((box) => box.value);
  }

  /** The conditions, as the service's interface names them. */
  conditions() {
    const found = {};
    const cameras = this.cameras();
    if (cameras.length) found.cameras = cameras;
    for (const end of ["after", "before"]) {
      const value = $(`${end}-${$("kind").value}`).value;
      if (value) found[end] = $("kind").value === "clock" ? `${value}${this.zone}` : Number(value);
    }
    return found;
  }

  get topK() {
    return Number($("top-k").value);
  }

  clear() {
    for (const box of document.querySelectorAll("#cameras input")) box.checked = false;
    for (const input of document.querySelectorAll("#span input")) input.value = "";
  }

  /** The conditions in words. */
  inWords() {
    const { cameras, after, before } = this.conditions();
    const time = (value) => (typeof value === "number" ? `second ${value}` : value.replace("T", " "));
    const words = [cameras ? cameras.join(", ") : "all cameras"];
    if (after !== undefined) words.push(`from ${time(after)}`);
    if (before !== undefined) words.push(`to ${time(before)}`);
    return words.join(", ");
  }
}
