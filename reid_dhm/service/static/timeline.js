/* When each camera saw the person: a row per camera, a bar per hit. */

import { $, el } from "./dom.js";
import { clockAt, dayAt, inWords, offsetOf, stopwatch } from "./format.js";

const NARROWEST = 20; // pixels, so that a finger finds it
const HEIGHT = 20;
const GAP = 4;

/** Draw the hits of a search; `open` is called with the one that is pressed. */
export function drawTimeline(hits, verdict, open) {
  const place = $("timeline");
  const timed = hits.filter((hit) => hit.start_time);
  const untimed = hits.filter((hit) => !hit.start_time);
  widths.disconnect();
  place.hidden = !hits.length;
  place.replaceChildren();
  if (timed.length) {
    const offset = offsetOf(timed[0].start_time);
    const days = new Set(timed.flatMap((hit) => [hit.start_time, hit.end_time]).map((iso) => dayAt(Date.parse(iso), offset)));
    const label = days.size > 1
      ? (instant) => `${dayAt(instant, offset)} ${clockAt(instant, offset).slice(0, 5)}`
      : (instant) => clockAt(instant, offset);
    const title = days.size > 1 ? "By the clock" : `By the clock, ${[...days][0]}`;
    const bounds = (hit) => [Date.parse(hit.start_time), Date.parse(hit.end_time)];
    place.append(chart(title, timed, (hit) => [hit.camera, ""], bounds, label));
  }
  if (untimed.length) {
    const bounds = (hit) => [hit.start * 1000, hit.end * 1000];
    const row = (hit) => [hit.camera, `video ${hit.video.slice(0, 6)}`];
    place.append(chart("From each video's start", untimed, row, bounds, (instant) => stopwatch(instant / 1000), 0));
  }

  function chart(title, some, rowOf, bounds, label, from = null) {
    const spans = some.map(bounds);
    const first = from ?? Math.min(...spans.map(([start]) => start));
    const length = Math.max(...spans.map(([, end]) => end)) - first || 1;
    const rows = new Map();
    some.forEach((hit, index) => {
      const key = rowOf(hit).join("\n");
      if (!rows.has(key)) rows.set(key, []);
      rows.get(key).push({ hit, start: (spans[index][0] - first) / length, end: (spans[index][1] - first) / length });
    });
    const lanes = [...rows].sort(([a], [b]) => a.localeCompare(b)).map(([key, bars]) => {
      const [camera, video] = key.split("\n");
      const name = el("h4", {}, camera, video ? el("small", {}, video) : null);
      return el("div", { class: "lane" }, name, lane(bars, `Hits of camera ${camera}`));
    });
    const most = Math.max(1, Math.floor((place.clientWidth - 130) / (8 * label(first).length)));
    const parts = Math.min(most, 4);
    const ticks = Array.from({ length: parts + 1 }, (_, n) => tick(label(first + (length * n) / parts), n / parts));
    const axis = el("div", { class: "axis", "aria-hidden": "true" }, el("div", {}, ...ticks));
    return el("section", { class: "timeline" }, el("h3", {}, title), el("div", { class: "lanes" }, ...lanes), axis);
  }

  function lane(bars, words) {
    const list = el("ol", { "aria-label": words }, ...bars.sort((a, b) => a.start - b.start).map((bar) => {
      const { hit } = bar;
      const rank = hits.indexOf(hit) + 1;
      const button = el("button", { type: "button", onclick: () => open(hit), title: inWords(hit), "aria-label": `Hit ${rank}: ${inWords(hit)}` }, String(rank));
      // Half of the colour at most, so that the number stays readable.
      const strength = Math.round(Math.min(Math.max(hit.similarity, 0), 1) * 50);
      button.style.setProperty("--strength", `${strength}%`);
      if (verdict(hit.tracklet)) button.classList.add(verdict(hit.tracklet));
      bar.item = el("li", {}, button);
      return bar.item;
    }));
    lanesOf.set(list, bars);
    widths.observe(list);
    return list;
  }
}

function tick(text, place) {
  const span = el("span", {}, text);
  span.style.left = `${place * 100}%`;
  return span;
}

const lanesOf = new WeakMap();

// Bars that would cover each other lie below each other, which depends on the width there is.
const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const free = [];
    for (const bar of lanesOf.get(target)) {
      const wide = Math.max(NARROWEST, (bar.end - bar.start) * contentRect.width);
      const left = Math.min(bar.start * contentRect.width, contentRect.width - wide);
      let level = free.findIndex((end) => end <= left);
      if (level < 0) level = free.push(0) - 1;
      free[level] = left + wide + 2;
      const { style } = bar.item;
      style.left = `${left}px`;
      style.width = `${wide}px`;
      style.top = `${8 + level * (HEIGHT + GAP)}px`;
      style.height = `${HEIGHT}px`;
    }
    target.style.height = `${16 + free.length * (HEIGHT + GAP) - GAP}px`;
  }
});
