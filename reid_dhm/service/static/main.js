/* The page of a gallery: what happens when, and what is shown where. */

import { ask, askAll, onUnknown } from "./api.js";
import { $, count, drawIcons, say, showProblem, wireClosing } from "./dom.js";
import { Filters } from "./filters.js";
import { Forgetting, forgetAll, forgetOne } from "./forget.js";
import { inWords } from "./format.js";
import { Query } from "./query.js";
import { card, showCards } from "./results.js";
import { drawTimeline } from "./timeline.js";
import { Viewer } from "./viewer.js";

const PAGE = 24; // of people in the gallery

let gallery = null;
let cameras = [];
let hits = null; // of the last search; null while the gallery is shown
let cursor = null;
let asking = null; // counts searches, so that only the last one's answer is shown

const actions = {
  open: (seen) => attempt(() => viewer.openPerson(seen)),
  find: (seen) => query.takeTracklet(seen),
  findBox: (...box) => query.takeFrame(...box),
  mark: (seen, verdict) => { query.mark(seen, verdict); showVerdicts(); },
  verdict: (tracklet) => query.verdict(tracklet),
  isHit: (tracklet) => Boolean(hits?.some((hit) => hit.tracklet === tracklet)),
  remove: async (seen) => {
    let gone = 0;
    await attempt(async () => { gone = await forgetOne(seen); });
    if (gone) await forgotten(gone, [seen.tracklet]);
    return gone > 0;
  },
};

const query = new Query(async () => {
  await attempt(search);
  if (hits && $("results").getBoundingClientRect().top > innerHeight / 2) $("results").scrollIntoView();
});
const filters = new Filters(() => attempt(search));
const viewer = new Viewer(actions);
const forgetting = new Forgetting(filters, (gone) => forgotten(gone, []), fail);

function fail(error) {
  showProblem($("problem"), error.message);
}

async function attempt(action) {
  showProblem($("problem"), null);
  try {
    await action();
  } catch (error) {
    fail(error);
  }
}

/** Search for what is asked for, or show the gallery when nothing is. */
async function search() {
  const mine = (asking = {});
  $("results").setAttribute("aria-busy", "true");
  $("go").disabled = query.empty;
  try {
    if (query.empty) {
      await browse(mine);
      return;
    }
    const found = await query.run({ ...filters.conditions(), top_k: filters.topK });
    if (mine !== asking) return;
    hits = found.hits;
    if (found.boxes.some(Boolean)) query.located(found.boxes);
    showHits(found.searched);
  } finally {
    if (mine === asking) $("results").setAttribute("aria-busy", "false");
  }
}

function showHits(searched) {
  $("heading").textContent = count(hits.length, "hit");
  const there = Object.keys(filters.conditions()).length ? " there and then" : "";
  $("about").textContent = `best first, of ${count(searched, "appearance")}${there}`;
  $("more").hidden = true;
  showVerdicts();
  const best = hits.length ? ` Best: ${inWords(hits[0])}.` : "";
  say(`${count(hits.length, "hit")}.${best}`);
}

function showVerdicts() {
  if (hits === null) return;
  const focused = document.activeElement?.closest?.(".hit");
  const button = focused && document.activeElement.className;
  const verdict = (tracklet) => query.verdict(tracklet);
  drawTimeline(hits, verdict, actions.open);
  const none = "Nobody was seen there and then: widen the time, or choose other cameras.";
  showCards(hits.map((hit, index) => card(hit, index + 1, verdict(hit.tracklet), actions)), { none });
  if (focused) document.querySelector(`[data-tracklet="${focused.dataset.tracklet}"] .${button}`)?.focus();
  const [right, wrong] = [query.right.size, query.wrong.size];
  $("feedback").hidden = !(right || wrong);
  $("marks").textContent = [right && `${right} right`, wrong && `${wrong} wrong`].filter(Boolean).join(", ");
  $("forget-right").hidden = !right;
}

/** Show who is in the gallery, by the same conditions as a search. */
async function browse(mine, more = false) {
  const { cameras: chosen = [], after, before } = filters.conditions();
  const asked = new URLSearchParams(chosen.map((camera) => ["camera", camera]));
  if (after !== undefined) asked.set("from", after);
  if (before !== undefined) asked.set("to", before);
  asked.set("limit", PAGE);
  asked.set("after", more ? cursor : 0);
  const page = await ask(`/api/tracklets?${asked}`);
  if (mine !== asking) return;
  hits = null;
  cursor = page.next;
  $("heading").textContent = "In this gallery";
  $("about").textContent = "choose somebody to find elsewhere";
  $("timeline").hidden = $("feedback").hidden = true;
  $("more").hidden = cursor === null;
  const none = gallery.tracklets
    ? "Nobody was seen there and then: widen the time, or choose other cameras."
    : "Nobody yet: index a video with reid-dhm index-video.";
  showCards(page.items.map((seen) => card(seen, 0, null, actions)), { behind: more, none });
}

async function forgotten(gone, tracklets) {
  for (const tracklet of tracklets) {
    query.right.delete(tracklet);
    query.wrong.delete(tracklet);
  }
  const left = query.items.filter((item) => !(item.kind === "tracklet" && tracklets.includes(item.seen.tracklet)));
  if (left.length < query.items.length) query.clear();
  await attempt(async () => {
    await load();
    await search();
  });
  say(`${count(gone, "appearance")} deleted.`);
  $("results").focus();
}

/** Read what the gallery holds. */
async function load() {
  [gallery, cameras] = await Promise.all([ask("/api/gallery"), askAll("/api/cameras")]);
  document.title = `${gallery.name}: who was where, when`;
  $("name").textContent = gallery.name;
  $("counts").textContent = [
    count(gallery.tracklets, "appearance"), count(gallery.cameras, "camera"), count(gallery.videos, "video"),
  ].join(" · ");
  filters.offer(gallery, cameras);
  query.detects = gallery.detects;
  $("from-video").disabled = $("forget-open").disabled = !gallery.videos;
}

/** Have the user sign in; resolves when that is done. */
function askToken() {
  const dialog = $("sign-in");
  if (!dialog.open) dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", done, { once: true }));
}

function wire() {
  drawIcons();
  wireClosing();
  onUnknown(askToken);
  $("sign-in").addEventListener("cancel", (event) => event.preventDefault());
  $("sign-in-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await ask("/api/session", { method: "POST", json: { token: $("token").value } });
      $("token").value = "";
      showProblem($("sign-in-problem"), null);
      $("sign-in").close();
    } catch (error) {
      showProblem($("sign-in-problem"), error.message);
    }
  });
  $("sign-out").addEventListener("click", async () => {
    await ask("/api/session", { method: "DELETE" });
    location.reload();
  });

  $("search").addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(search);
    $("results").focus();
  });
  $("clear").addEventListener("click", () => { query.clear(); filters.clear(); attempt(search); });
  $("more").addEventListener("click", () => attempt(() => browse(asking, true)));
  $("from-video").addEventListener("click", () => attempt(() => viewer.openVideos(cameras)));
  $("refine").addEventListener("click", async () => { await attempt(search); $("results").focus(); });
  $("unmark").addEventListener("click", () => { query.unmark(); showVerdicts(); $("results").focus(); });
  $("forget-right").addEventListener("click", () => attempt(async () => {
    const tracklets = [...query.right.keys()];
    const gone = await forgetAll(tracklets);
    if (gone) await forgotten(gone, tracklets);
  }));
  $("forget-open").addEventListener("click", () => attempt(() => forgetting.open(cameras)));
  wireFiles();
}

function wireFiles() {
  const add = (files) => attempt(() => query.addFiles([...files]));
  $("files").addEventListener("change", async () => { await add($("files").files); $("files").value = ""; });
  let depth = 0;
  const over = (by) => { depth += by; $("drop").classList.toggle("over", depth > 0); };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer.files.length) add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) add(event.clipboardData.files);
  });
}

wire();
attempt(async () => {
  const session = await ask("/api/session");
  if (session.required && !session.actor) await askToken();
  $("sign-out").hidden = !session.required;
  await load();
  await search();
});
