/* The filter: cameras, a time span, and the number and similarity of candidates. */

import { $, el, showProblem } from "./dom.js";
import { clockAt, dayAt, offsetOf, stopwatch, zoneOf } from "./format.js";

export class Filters {
  constructor(changed) {
    $("kind").addEventListener("change", () => this.showEnds());
    for (const id of ["cameras", "span"]) $(id).addEventListener("change", changed);
    for (const id of ["top-k", "min-similarity"]) $(id).addEventListener("change", changed);
  }

  /** Offer the cameras and the kinds of time that a gallery has. */
  offer(gallery, cameras) {
    this.offsets = gallery.offsets;
    const { start_time: timed, untimed } = gallery;
    const ticked = new Set(this.cameras());
    $("cameras").replaceChildren(...cameras.map((camera) =>
      el("label", {},
        el("input", { type: "checkbox", name: "camera", value: camera.name, checked: ticked.has(camera.name) }),
        el("span", {}, camera.name),
        el("small", {}, camera.tracklets.toLocaleString("en")))));
    if (!cameras.length) $("cameras").append(el("p", { class: "small" }, "No cameras yet."));
    $("kind-label").hidden = !(timed && untimed);
    if (!timed) $("kind").value = "seconds";
    else if (!untimed) $("kind").value = "clock";
    this.showRange(gallery);
    // Recordings before and after a change of daylight saving time have different offsets.
    const chosen = this.zone;
    $("zone-of").replaceChildren(...gallery.offsets.map((offset) => el("option", { value: offset }, zoneOf(offset))));
    if (gallery.offsets.includes(chosen)) $("zone-of").value = chosen;
    $("zone").textContent = timed ? `Times are ${zoneOf(this.zone)}, as recorded.` : "";
    this.showEnds();
  }

  /** Show what the recordings cover. */
  showRange({ start_time: start, end_time: end, untimed, seconds }) {
    const shown = (iso) => [dayAt(Date.parse(iso), offsetOf(iso)), clockAt(Date.parse(iso), offsetOf(iso))];
    const parts = [];
    if (start) {
      const [[day, from], [last, to]] = [shown(start), shown(end)];
      parts.push(`Recordings: ${day}, ${from} to ${day === last ? "" : `${last}, `}${to}`);
    }
    if (untimed) parts.push(`Videos without clock time: up to ${stopwatch(seconds)} long`);
    $("range").textContent = parts.join(". ");
    $("range").hidden = !parts.length;
  }

  showEnds() {
    const kind = $("kind").value;
    for (const ends of document.querySelectorAll("#span .ends")) ends.hidden = ends.dataset.kind !== kind;
    const several = $("zone-of").options.length > 1;
    $("zone").hidden = kind !== "clock" || several || !$("zone").textContent;
    $("zone-choice").hidden = kind !== "clock" || !several;
  }

  /** The UTC offset of the times. */
  get zone() {
    return $("zone-of").value;
  }

  cameras() {
    return [...document.querySelectorAll("#cameras input:checked")].map((box) => box.value);
  }

  /** Whether the time span is possible; says so where it is not. */
  check() {
    const { after, before } = this.conditions();
    const number = (value) => (typeof value === "number" ? value : Date.parse(value));
    const wrong = after !== undefined && before !== undefined && number(after) > number(before);
    showProblem($("span-problem"), wrong ? "From is later than To: change one of them." : null);
    for (const input of document.querySelectorAll("#span input")) input.setAttribute("aria-invalid", String(wrong));
    return !wrong;
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

  /** How many candidates, and how similar. */
  bounds() {
    const found = { top_k: Number($("top-k").value) };
    const least = $("min-similarity").value;
    if (least) found.min_similarity = Number(least);
    return found;
  }

  /** What the address says of the filter. */
  state() {
    const { cameras, after, before } = this.conditions();
    const { top_k: top, min_similarity: min } = this.bounds();
    return { camera: cameras, from: after, to: before, top: top === 20 ? "" : top, min };
  }

  /** Set the filter to what an address, or a case, says. */
  restore({ camera = [], from = "", to = "", top = 20, min = "" }) {
    for (const box of document.querySelectorAll("#cameras input")) box.checked = camera.includes(box.value);
    const times = { after: String(from), before: String(to) };
    const clock = Object.values(times).find((time) => time.includes("T"));
    if (clock) {
      $("kind").value = "clock";
      const zone = /[+-]\d\d:\d\d$/.exec(clock);
      if (zone && this.offsets.includes(zone[0])) $("zone-of").value = zone[0];
    } else if (from !== "" || to !== "") {
      $("kind").value = "seconds";
    }
    for (const [end, time] of Object.entries(times)) {
      $(`${end}-clock`).value = time.includes("T") ? time.replace(/(Z|[+-]\d\d:\d\d)$/, "") : "";
      $(`${end}-seconds`).value = time.includes("T") ? "" : time;
    }
    $("top-k").value = [...$("top-k").options].some((option) => option.value === String(top)) ? top : 20;
    $("min-similarity").value = min;
    this.showEnds();
    this.check();
  }

  clear() {
    for (const box of document.querySelectorAll("#cameras input")) box.checked = false;
    for (const input of document.querySelectorAll("#span input, #min-similarity")) input.value = "";
  }

  /** The conditions as text. */
  inWords() {
    const { cameras, after, before } = this.conditions();
    const time = (value) => (typeof value === "number" ? `second ${value}` : value.replace("T", " "));
    const words = [cameras ? cameras.join(", ") : "all cameras"];
    if (after !== undefined) words.push(`from ${time(after)}`);
    if (before !== undefined) words.push(`to ${time(before)}`);
    return words.join(", ");
  }
}
