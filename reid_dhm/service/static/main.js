/* The page of a gallery: connects the query, the filters, the candidates and the viewer. */

import { ask, askAll, onUnknown } from "./api.js";
import { $, count, drawIcons, say, showProblem, wireClosing } from "./dom.js";
import { Filters } from "./filters.js";
import { Deletion, deleteAll, deleteOne } from "./deletion.js";
import { inWords } from "./format.js";
import { Query } from "./query.js";
import { card, showCards } from "./results.js";
import { drawTimeline } from "./timeline.js";
import { Viewer } from "./viewer.js";

const PAGE = 24; // tracklets, while the gallery is browsed

const NONE = "No matching tracklets: widen the time, choose other cameras, or lower the minimum similarity.";

let gallery = null;
let cameras = [];
let candidates = null; // of the last search; null while the gallery is browsed
let cursor = null;
let current = null; // the last search: its key, and the promise of its end

const actions = {
  open: (seen) => attempt(() => viewer.openPerson(seen)),
  find: (seen) => attempt(() => query.takeTracklet(seen)),
  findBox: (...box) => attempt(() => query.takeFrame(...box)),
  mark: (seen, verdict) => { query.mark(seen, verdict); showVerdicts(); },
  verdict: (tracklet) => query.verdict(tracklet),
  isCandidate: (tracklet) => Boolean(candidates?.some((found) => found.tracklet === tracklet)),
  remove: async (seen) => {
    let gone = null;
    await attempt(async () => {
      gone = await deleteOne(seen);
      if (gone) await deleted(gone, [seen.tracklet]);
    });
    return gone !== null;
  },
};

const query = new Query(async () => {
  await attempt(search);
  if (candidates && $("results").getBoundingClientRect().top > innerHeight / 2) $("results").scrollIntoView();
}, attempt);
const filters = new Filters(() => attempt(search));
const viewer = new Viewer(actions);
const deletion = new Deletion(filters, (gone) => deleted(gone, null), attempt);

async function attempt(action) {
  showProblem($("problem"), null);
  try {
    await action();
  } catch (error) {
    showProblem($("problem"), error.message);
  }
}

/** Search, or browse the gallery without a query; what is searched for already is not sent again. */
function search() {
  if (!filters.check()) {
    current = null;
    showNone("Nothing was searched: correct the filter.");
    return Promise.resolve();
  }
  const key = JSON.stringify([query.key(), filters.conditions(), filters.bounds()]);
  if (current?.key !== key || current.ended) current = start(key);
  return current.promise;
}

function start(key) {
  const mine = { key, ended: false };
  mine.promise = Promise.resolve().then(() => run(mine)).finally(() => { mine.ended = true; });
  return mine;
}

async function run(mine) {
  $("results").setAttribute("aria-busy", "true");
  $("go").disabled = query.empty;
  try {
    if (query.empty) {
      await browse(mine);
      return;
    }
    const found = await query.run({ ...filters.conditions(), ...filters.bounds() });
    if (mine !== current) return;
    candidates = found.hits;
    if (found.boxes.some(Boolean)) query.located(found.boxes);
    showCandidates(found.recall, found.basis);
  } catch (error) {
    // The query may have been deleted by somebody else: older candidates are removed.
    if (mine === current && [404, 422].includes(error.status)) showNone(error.message);
    throw error;
  } finally {
    if (mine === current) $("results").setAttribute("aria-busy", "false");
  }
}

function showNone(why) {
  query.unmark();
  candidates = null;
  $("heading").textContent = "No candidates";
  $("about").textContent = "";
  $("timeline").hidden = $("feedback").hidden = $("more").hidden = $("mark-all").hidden = true;
  showCards([], { none: why });
}

function showCandidates(recall, basis) {
  $("heading").textContent = count(candidates.length, "candidate");
  const filtered = Object.keys(filters.conditions()).length ? ", filtered" : "";
  const missing = recall === null ? "" : `; approximate index, recall@10 ${(recall * 100).toFixed(1)}\u00a0%`;
  const assumed = basis === null ? "" : `; “same person” is ${basis}`;
  $("about").textContent = `most similar first${filtered}${missing}${assumed}`;
  $("more").hidden = true;
  showVerdicts();
  const best = candidates.length ? ` Best: ${inWords(candidates[0])}.` : "";
  say(`${count(candidates.length, "candidate")}.${best}`);
}

function showVerdicts() {
  if (candidates === null) return;
  const focused = document.activeElement?.closest?.(".candidate");
  const button = focused && document.activeElement.className;
  const verdict = (tracklet) => query.verdict(tracklet);
  drawTimeline(candidates, verdict, actions.open);
  showCards(candidates.map((found, index) => card(found, index + 1, verdict(found.tracklet), actions)), { none: NONE });
  if (focused) document.querySelector(`[data-tracklet="${focused.dataset.tracklet}"] .${button}`)?.focus();
  const [confirmed, rejected] = [query.confirmed.size, query.rejected.size];
  $("feedback").hidden = !(confirmed || rejected);
  $("marks").textContent = [confirmed && `${confirmed} confirmed`, rejected && `${rejected} rejected`].filter(Boolean).join(", ");
  $("delete-confirmed").hidden = !confirmed;
  $("mark-all").hidden = candidates.every((found) => query.verdict(found.tracklet));
}

/** Browse the gallery, by the same filter as a search. */
async function browse(mine, more = false) {
  const { cameras: chosen = [], after, before } = filters.conditions();
  const wanted = new URLSearchParams(chosen.map((camera) => ["camera", camera]));
  if (after !== undefined) wanted.set("from", after);
  if (before !== undefined) wanted.set("to", before);
  wanted.set("limit", PAGE);
  wanted.set("after", more ? cursor : 0);
  const page = await ask(`/api/tracklets?${wanted}`);
  if (mine !== current) return;
  candidates = null;
  cursor = page.next;
  $("heading").textContent = "In this gallery";
  $("about").textContent = "choose a person to search for";
  $("timeline").hidden = $("feedback").hidden = $("mark-all").hidden = true;
  $("more").hidden = cursor === null;
  const none = gallery.tracklets
    ? NONE
    : "No tracklets yet: index a video with reid-dhm index-video.";
  showCards(page.items.map((seen) => card(seen, 0, null, actions)), { behind: more, none });
}

/** Update the page after a deletion of these tracklets, or of ones that only the service knows (null). */
async function deleted(gone, tracklets) {
  query.drop(tracklets);
  current = null;
  await load();
  await search();
  say(gone.tracklets === null ? "Already deleted." : `${count(gone.tracklets, "tracklet")} deleted.`);
  $("results").focus();
  if (gone.traces) throw new Error("Deleted, but another process reads the gallery: traces stay in its write-ahead log until the service can overwrite them.");
}

/** Read what the gallery holds. */
async function load() {
  [gallery, cameras] = await Promise.all([ask("/api/gallery"), askAll("/api/cameras")]);
  document.title = `${gallery.name}: who was where, when`;
  $("name").textContent = gallery.name;
  $("counts").textContent = [
    count(gallery.tracklets, "tracklet"), count(gallery.cameras, "camera"), count(gallery.videos, "video"),
  ].join(" · ");
  filters.offer(gallery, cameras);
  query.detects = gallery.detects;
  $("from-video").disabled = $("delete-open").disabled = !gallery.videos;
}

/** Ask the user to sign in; resolves afterwards. */
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
  $("more").addEventListener("click", () => attempt(() => browse(current, true)));
  $("from-video").addEventListener("click", () => attempt(() => viewer.openVideos(cameras)));
  $("refine").addEventListener("click", async () => { await attempt(search); $("results").focus(); });
  $("mark-all").addEventListener("click", () => {
    for (const found of candidates) if (!query.verdict(found.tracklet)) query.mark(found, "confirmed");
    showVerdicts();
    $("delete-confirmed").focus();
  });
  $("unmark").addEventListener("click", () => { query.unmark(); showVerdicts(); $("results").focus(); });
  $("delete-confirmed").addEventListener("click", () => attempt(async () => {
    const tracklets = [...query.confirmed.keys()];
    const gone = await deleteAll(tracklets);
    if (gone) await deleted(gone, tracklets);
  }));
  $("delete-open").addEventListener("click", () => attempt(() => deletion.open(cameras)));
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
