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
  find: (seen) => attempt(() => query.takeTracklet(seen)),
  findBox: (...box) => attempt(() => query.takeFrame(...box)),
  mark: (seen, verdict) => { query.mark(seen, verdict); showVerdicts(); },
  verdict: (tracklet) => query.verdict(tracklet),
  isHit: (tracklet) => Boolean(hits?.some((hit) => hit.tracklet === tracklet)),
  remove: async (seen) => {
    let gone = null;
    await attempt(async () => {
      gone = await forgetOne(seen);
      if (gone) await forgotten(gone, [seen.tracklet]);
    });
    return gone !== null;
  },
};

const query = new Query(async () => {
  await attempt(search);
  if (hits && $("results").getBoundingClientRect().top > innerHeight / 2) $("results").scrollIntoView();
}, attempt);
const filters = new Filters(() => attempt(search));
const viewer = new Viewer(actions);
const forgetting = new Forgetting(filters, (gone) => forgotten(gone, null), attempt);

async function attempt(action) {
  showProblem($("problem"), null);
  try {
    await action();
  } catch (error) {
    showProblem($("problem"), error.message);
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
    const found = await query.run({ ...filters.conditions(), ...filters.bounds() });
    if (mine !== asking) return;
    hits = found.hits;
    if (found.boxes.some(Boolean)) query.located(found.boxes);
    showHits(found.recall);
  } catch (error) {
    // What is asked for may have been deleted by somebody else: nobody who was is shown on.
    if (mine === asking && [404, 422].includes(error.status)) showNobody(error.message);
    throw error;
  } finally {
    if (mine === asking) $("results").setAttribute("aria-busy", "false");
  }
}

function showNobody(why) {
  query.unmark();
  hits = null;
  $("heading").textContent = "No hits";
  $("about").textContent = "";
  $("timeline").hidden = $("feedback").hidden = $("more").hidden = $("mark-all").hidden = true;
  showCards([], { none: why });
}

function showHits(recall) {
  $("heading").textContent = count(hits.length, "hit");
  const there = Object.keys(filters.conditions()).length ? " there and then" : "";
  const missing = recall === null ? "" : `; this index finds ${(recall * 100).toFixed(1)}\u00a0% of the nearest`;
  const assumed = hits.some((hit) => hit.probability !== null)
    ? "; “same person” supposes that one of all appearances is right"
    : "";
  $("about").textContent = `best first${there}${missing}${assumed}`;
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
  $("mark-all").hidden = hits.every((hit) => query.verdict(hit.tracklet));
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
  $("timeline").hidden = $("feedback").hidden = $("mark-all").hidden = true;
  $("more").hidden = cursor === null;
  const none = gallery.tracklets
    ? "Nobody was seen there and then: widen the time, or choose other cameras."
    : "Nobody yet: index a video with reid-dhm index-video.";
  showCards(page.items.map((seen) => card(seen, 0, null, actions)), { behind: more, none });
}

/** Go on without what was deleted: these tracklets, or null for such as only the service knows. */
async function forgotten(gone, tracklets) {
  query.forget(tracklets);
  await load();
  await search();
  say(gone.tracklets === null ? "It was gone already." : `${count(gone.tracklets, "appearance")} deleted.`);
  $("results").focus();
  if (gone.traces) throw new Error("Deleted; but another process is reading the gallery, so traces stay in its log until that is done. The service goes on trying to overwrite them.");
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
  $("sign-out").addEventListener("click", () => attempt(async () => {
    await ask("/api/session", { method: "DELETE" });
    location.reload();
  }));

  $("search").addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(search);
    $("results").focus();
  });
  $("clear").addEventListener("click", () => { query.clear(); filters.clear(); attempt(search); });
  $("more").addEventListener("click", () => attempt(() => browse(asking, true)));
  $("from-video").addEventListener("click", () => attempt(() => viewer.openVideos(cameras)));
  $("refine").addEventListener("click", async () => { await attempt(search); $("results").focus(); });
  $("mark-all").addEventListener("click", () => {
    for (const hit of hits) if (!query.verdict(hit.tracklet)) query.mark(hit, "right");
    showVerdicts();
    $("forget-right").focus();
  });
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
