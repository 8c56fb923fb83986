/* The timeline: a row per camera, a bar per candidate. */

import { el } from "./dom.js";
import { clockAt, dayAt, inWords, offsetOf, stopwatch } from "./format.js";

const MIN_WIDTH = 20; // pixels, for touch screens
const HEIGHT = 20;
const GAP = 4;

/** Draw tracklets in a place; `open` is called with the one that is pressed. */
export function drawTimeline(place, candidates, { verdict = () => null, open, noun = "Candidate" }) {
  const timed = candidates.filter((found) => found.start_time);
  const untimed = candidates.filter((found) => !found.start_time);
  widths.disconnect();
  place.hidden = !candidates.length;
  place.replaceChildren();
  if (timed.length) {
    const offset = offsetOf(timed[0].start_time);
    const days = new Set(timed.flatMap((found) => [found.start_time, found.end_time]).map((iso) => dayAt(Date.parse(iso), offset)));
    const label = days.size > 1
      ? (instant) => `${dayAt(instant, offset)} ${clockAt(instant, offset).slice(0, 5)}`
      : (instant) => clockAt(instant, offset);
    const title = days.size > 1 ? "Clock time" : `Clock time, ${[...days][0]}`;
    const bounds = (found) => [Date.parse(found.start_time), Date.parse(found.end_time)];
    place.append(chart(title, timed, (found) => [found.camera, ""], bounds, label));
  }
  if (untimed.length) {
    const bounds = (found) => [found.start * 1000, found.end * 1000];
    const row = (found) => [found.camera, `video ${found.video.slice(0, 6)}`];
    place.append(chart("Time from each video's start", untimed, row, bounds, (instant) => stopwatch(instant / 1000), 0));
  }

  function chart(title, some, rowOf, bounds, label, from = null) {
    const spans = some.map(bounds);
    const first = from ?? Math.min(...spans.map(([start]) => start));
    const length = Math.max(...spans.map(([, end]) => end)) - first || 1;
    const rows = new Map();
    some.forEach((found, index) => {
      const key = rowOf(found).join("\n");
      if (!rows.has(key)) rows.set(key, []);
      rows.get(key).push({ found, start: (spans[index][0] - first) / length, end: (spans[index][1] - first) / length });
    });
    const lanes = [...rows].sort(([a], [b]) => a.localeCompare(b)).map(([key, bars]) => {
      const [camera, video] = key.split("\n");
      const name = el("h4", {}, camera, video ? el("small", {}, video) : null);
      return el("div", { class: "lane" }, name, lane(bars, `${noun}s of camera ${camera}`));
    });
    const most = Math.max(1, Math.floor((place.clientWidth - 130) / (8 * label(first).length)));
    const parts = Math.min(most, 4);
    const ticks = Array.from({ length: parts + 1 }, (_, n) => tick(label(first + (length * n) / parts), n / parts));
    const axis = el("div", { class: "axis", "aria-hidden": "true" }, el("div", {}, ...ticks));
    return el("section", { class: "timeline" }, el("h3", {}, title), el("div", { class: "lanes" }, ...lanes), axis);
  }

  function lane(bars, words) {
    const list = el("ol", { "aria-label": words }, ...bars.sort((a, b) => a.start - b.start).map((bar) => {
      const { found } = bar;
      const rank = candidates.indexOf(found) + 1;
      const button = el("button", { type: "button", onclick: () => open(found), title: inWords(found), "aria-label": `${noun} ${rank}: ${inWords(found)}` }, String(rank));
      // At most half of the colour, so that the number stays readable.
      const strength = Math.round(Math.min(Math.max(found.similarity ?? 0.5, 0), 1) * 50);
      button.style.setProperty("--strength", `${strength}%`);
      if (verdict(found.tracklet)) button.classList.add(verdict(found.tracklet));
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

// Overlapping bars are placed below each other, which depends on the width.
const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const free = [];
    for (const bar of lanesOf.get(target)) {
      const wide = Math.max(MIN_WIDTH, (bar.end - bar.start) * contentRect.width);
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
