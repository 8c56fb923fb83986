/* The people of the gallery, by last seen: a grid to open, select, merge, name and hide in. */

import { ask } from "./api.js";
import { show, writeState } from "./address.js";
import { $, count, el, image, showProblem } from "./dom.js";
import { dayAt, clockAt, offsetOf, stopwatch } from "./format.js";
import { Questions } from "./questions.js";
import { nameOf, personLink } from "./statements.js";

const PAGE = 60;

/** When somebody was last seen. */
export function lastSeen({ last_seen: iso, end }) {
  if (iso) return `${dayAt(Date.parse(iso), offsetOf(iso))}, ${clockAt(Date.parse(iso), offsetOf(iso))}`;
  return end === null ? "in several videos without clock time" : `${stopwatch(end)} in the video`;
}

export class People {
  /** `page` has `gallery`, `cameras`, `filters`, `statements`, `may(role)`, `attempt(action)`, `rename(person)`. */
  constructor(page) {
    this.page = page;
    this.people = [];
    this.selected = new Set();
    this.questions = new Questions(page);
    $("people-filter").addEventListener("change", () => page.attempt(() => this.filter()));
    $("people-filter").addEventListener("submit", (event) => event.preventDefault());
    $("people-more").addEventListener("click", () => page.attempt(() => this.read(this.next)));
    $("grid").addEventListener("keydown", (event) => this.key(event));
    $("merge-people").addEventListener("click", () => page.attempt(() => this.merge([...this.selected])));
    $("hide-people").addEventListener("click", () => page.attempt(() => this.hide([...this.selected])));
    $("clear-people").addEventListener("click", () => { this.selected.clear(); this.draw(); });
    $("ask").addEventListener("click", () => page.attempt(() => this.questions.open()));
    $("link-people").addEventListener("click", () => page.attempt(() => this.link()));
  }

  /** Show what an address says. */
  async open(state) {
    this.offer();
    $("people-camera").value = state.camera?.[0] || "";
    for (const end of ["from", "to"]) $(`people-${end}`).value = (state[end] || "").replace(/(Z|[+-]\d\d:\d\d)$/, "");
    $("people-cameras").value = state.cameras || 1;
    $("people-hidden").checked = Boolean(state.hidden);
    await this.read(0);
  }

  /** Offer the cameras, and the kind of time that the gallery has. */
  offer() {
    const { gallery, cameras } = this.page;
    const options = cameras.map((camera) => el("option", { value: camera.name }, camera.name));
    $("people-camera").replaceChildren(el("option", { value: "" }, "all cameras"), ...options);
    $("people-cameras").max = Math.max(cameras.length, 1);
    const clock = Boolean(gallery.start_time);
    for (const end of ["from", "to"]) {
      const input = $(`people-${end}`);
      const [type, step] = clock ? ["datetime-local", "1"] : ["number", "any"];
      input.setAttribute("type", type);
      input.setAttribute("step", step);
    }
    $("people-range").textContent = $("range").textContent;
  }

  /** What the filter says, as the address and the service name it; null if it is impossible. */
  conditions() {
    const { gallery, filters } = this.page;
    const time = (end) => {
      const { value } = $(`people-${end}`);
      return value && gallery.start_time ? `${value}${filters.zone}` : value;
    };
    const state = {
      camera: $("people-camera").value ? [$("people-camera").value] : [],
      from: time("from"), to: time("to"),
      cameras: Number($("people-cameras").value) > 1 ? $("people-cameras").value : "",
      hidden: $("people-hidden").checked ? "true" : "",
    };
    const number = (value) => (gallery.start_time ? Date.parse(value) : Number(value));
    const wrong = state.from && state.to && number(state.from) > number(state.to);
    showProblem($("people-problem"), wrong ? "From is later than To: change one of them." : null);
    for (const end of ["from", "to"]) $(`people-${end}`).setAttribute("aria-invalid", String(Boolean(wrong)));
    return wrong ? null : state;
  }

  async filter() {
    const state = this.conditions();
    if (!state) return;
    show(`/people${writeState(state)}`);
    await this.read(0);
  }

  async read(after) {
    const state = this.conditions();
    if (!state) return;
    const wanted = new URLSearchParams({ order: "last_seen", limit: PAGE, after });
    for (const camera of state.camera) wanted.append("camera", camera);
    for (const [name, value] of [["from", state.from], ["to", state.to], ["min_cameras", state.cameras], ["hidden", state.hidden]]) {
      if (value) wanted.set(name, value);
    }
    const page = await ask(`/api/people?${wanted}`);
    this.people = after ? [...this.people, ...page.items] : page.items;
    this.next = page.next;
    for (const id of [...this.selected]) if (!this.people.some((each) => each.id === id)) this.selected.delete(id);
    this.draw();
  }

  /** Read again what is shown, after a statement. */
  async refresh() {
    const focused = document.activeElement?.closest?.("#grid [data-person]")?.dataset.person;
    await this.read(0);
    if (focused) $("grid").querySelector(`[data-person="${focused}"] a`)?.focus();
    await this.questions.refresh();
  }

  draw() {
    const filtered = Object.values(this.conditions() || {}).some((value) => value.length);
    $("people-about").textContent = `${count(this.people.length, "person", "people")}${this.next === null ? "" : " and more"}, by last seen`;
    const none = filtered
      ? "Nobody matches: widen the time, or choose other cameras."
      : this.page.gallery.tracklets ? "No people yet: find them in what was indexed." : "No tracklets yet: index a video with reid-dhm index-video.";
    $("grid").replaceChildren(...(this.people.length ? this.people.map((each) => this.card(each)) : [el("li", { class: "empty" }, none)]));
    $("people-more").hidden = this.next === null;
    $("link-people").textContent = this.people.length || filtered ? "Find people anew" : "Find people";
    this.drawSelection();
  }

  drawSelection() {
    const number = this.selected.size;
    $("selection").hidden = number === 0;
    $("selection-words").textContent = `${count(number, "person", "people")} selected`;
    $("merge-people").disabled = number < 2;
  }

  card(each) {
    const says = this.page.may("investigator");
    const label = nameOf(each);
    const link = personLink(each.id, label);
    const tick = says && el("input", {
      type: "checkbox", "aria-label": `Select ${label}`, checked: this.selected.has(each.id),
      onchange: () => this.select(each.id),
    });
    const item = el("li", { class: `person${each.hidden ? " is-hidden" : ""}`, "data-person": each.id, draggable: says ? "true" : null },
      el("div", { class: "portrait" }, image(`/api/people/${each.id}/portrait`, "")),
      el("h2", {}, link, tick),
      el("p", { class: "when" }, lastSeen(each)),
      el("p", { class: "when" }, each.cameras.join(", ")),
      el("p", { class: "when" }, `${count(each.tracklets, "appearance")}${each.hidden ? ", hidden" : ""}`));
    item.addEventListener("click", (event) => { if (!event.target.closest("a, input")) link.click(); });
    if (says) this.draggable(item, each.id);
    return item;
  }

  draggable(item, id) {
    item.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/x-person", String(id)));
    const over = (event) => event.dataTransfer.types.includes("text/x-person");
    item.addEventListener("dragover", (event) => { if (over(event)) { event.preventDefault(); item.classList.add("over"); } });
    item.addEventListener("dragleave", () => item.classList.remove("over"));
    item.addEventListener("drop", (event) => {
      event.preventDefault();
      item.classList.remove("over");
      const other = Number(event.dataTransfer.getData("text/x-person"));
      if (other && other !== id) this.page.attempt(() => this.merge([id, other]));
    });
  }

  select(id) {
    if (!this.selected.delete(id)) this.selected.add(id);
    const box = $("grid").querySelector(`[data-person="${id}"] input`);
    if (box) box.checked = this.selected.has(id);
    this.drawSelection();
  }

  key(event) {
    const item = event.target.closest("[data-person]");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const id = Number(item.dataset.person);
    const items = [...$("grid").children];
    const columns = items.filter((other) => other.offsetTop === items[0].offsetTop).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const says = this.page.may("investigator");
    const acts = says && {
      " ": event.target.matches("a") && (() => this.select(id)),
      m: () => this.page.attempt(() => this.merge([...this.selected])),
      h: () => this.page.attempt(() => this.hide(this.selected.size ? [...this.selected] : [id])),
      n: () => this.page.attempt(() => this.page.rename(this.people.find((each) => each.id === id))),
    }[event.key.toLowerCase()];
    if (!step && !acts) return;
    event.preventDefault();
    if (acts) acts();
    else items[items.indexOf(item) + step]?.querySelector("a").focus();
  }

  /** Record that people are one: the one with a name first, or else the one of most appearances. */
  async merge(ids) {
    if (ids.length < 2) return;
    const chosen = ids.map((id) => this.people.find((each) => each.id === id)).filter(Boolean);
    const json = await this.page.mergeOf(chosen);
    if (!json) return;
    this.selected.clear();
    await this.page.statements.say(`${chosen.map(nameOf).join(" and ")} are one person`, "/api/merges", json);
  }

  async hide(ids) {
    for (const id of ids) {
      const person = this.people.find((each) => each.id === id);
      this.selected.delete(id);
      const words = `${nameOf(person)} ${person.hidden ? "is shown again" : "is hidden"}`;
      await this.page.statements.say(words, `/api/people/${id}/hide`, { hidden: !person.hidden });
    }
  }

  /** Find the people of all tracklets; what users said is kept. */
  async link() {
    $("link-people").disabled = true;
    try {
      const done = await ask("/api/linking", { method: "POST", json: {} });
      this.page.statements.tell(`${count(done.people, "person", "people")} found: ${done.new} new, ${done.gone} gone; ${count(done.moved, "tracklet")} moved. What was said is kept.`, null);
      await this.page.changed();
    } finally {
      $("link-people").disabled = false;
    }
  }
}
