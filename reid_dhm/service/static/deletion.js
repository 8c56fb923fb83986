/* Permanent deletion: of a tracklet, several, a camera, a video, or a time span. */

import { ask, askAll } from "./api.js";
import { $, count, el } from "./dom.js";
import { inWords, moment } from "./format.js";

/** Ask whether to delete; resolves to whether the answer was yes. */
export function confirmed(text, thumbnail = null) {
  const dialog = $("confirm");
  $("confirm-text").textContent = text;
  $("confirm-image").hidden = !thumbnail;
  if (thumbnail) $("confirm-image").src = thumbnail;
  else $("confirm-image").removeAttribute("src");
  return new Promise((answer) => {
    let yes = false;
    const agree = () => { yes = true; dialog.close(); };
    $("confirm-yes").addEventListener("click", agree, { once: true });
    dialog.addEventListener("close", () => {
      $("confirm-yes").removeEventListener("click", agree);
      answer(yes);
    }, { once: true });
    dialog.showModal();
  });
}

/** Delete; resolves to the number of tracklets, null if already deleted, perhaps by our own first attempt. */
async function request(path, options) {
  try {
    return await ask(path, options);
  } catch (error) {
    if (error.status !== 404) throw error;
    return { tracklets: null, traces: false };
  }
}

/** Delete one tracklet after a confirmation; resolves to what was deleted, or null. */
export async function deleteOne(seen) {
  const text = `The tracklet of ${inWords({ ...seen, similarity: undefined })}: its boxes, images and embedding.`;
  if (!(await confirmed(text, `/api/tracklets/${seen.tracklet}/thumbnail`))) return null;
  return request(`/api/tracklets/${seen.tracklet}`, { method: "DELETE" });
}

/** Delete several tracklets after a confirmation; resolves to what was deleted, or null. */
export async function deleteAll(tracklets) {
  const text = `The ${count(tracklets.length, "tracklet")} that you confirmed: boxes, images and embeddings.`;
  if (!(await confirmed(text))) return null;
  return request("/api/deletions", { method: "POST", json: { tracklets } });
}

/** The dialog that deletes cameras, videos and time spans. */
export class Deletion {
  constructor(filters, deleted, attempt) {
    this.filters = filters;
    this.asked = 0; // number of the latest question; an answer to an earlier one is dropped
    $("delete-what").addEventListener("change", () => this.show());
    $("delete-camera").addEventListener("change", () => this.show());
    $("delete-video").addEventListener("change", () => this.tell());
    $("delete-next").addEventListener("click", () => attempt(async () => {
      const { path, options, words } = this.plan;
      $("deletion").close();
      if (await confirmed(words)) await deleted(await request(path, options));
    }));
  }

  async open(cameras) {
    this.cameras = cameras;
    $("delete-camera").replaceChildren(...cameras.map((camera) => el("option", { value: camera.id }, camera.name)));
    await this.show();
    $("deletion").showModal();
  }

  get camera() {
    return this.cameras.find((camera) => String(camera.id) === $("delete-camera").value);
  }

  async show() {
    const what = $("delete-what").value;
    for (const part of document.querySelectorAll("#deletion [data-what]")) {
      part.hidden = !part.dataset.what.split(" ").includes(what);
    }
    await this.tell(what === "video" && this.camera ? (latest) => this.listVideos(latest) : undefined);
  }

  async listVideos(latest) {
    const videos = await askAll(`/api/videos?camera=${encodeURIComponent(this.camera.name)}`);
    if (!latest()) return;
    this.videos = videos;
    $("delete-video").replaceChildren(...this.videos.map((video) =>
      el("option", { value: video.video }, video.start_time ? `${moment(video, 0)} (${video.source})` : video.source)));
  }

  /** Show what would be deleted, and keep the request. */
  async tell(prepare = () => {}) {
    const plans = { camera: () => this.wholeCamera(), video: () => this.wholeVideo(), span: () => this.span() };
    const number = ++this.asked;
    const latest = () => number === this.asked;
    let plan = null;
    let failure = "";
    this.plan = null;
    $("delete-next").disabled = true;
    try {
      await prepare(latest);
      if (latest()) plan = await plans[$("delete-what").value]();
    } catch (error) {
      failure = error.message;
    }
    if (!latest()) return;
    this.plan = plan;
    if (failure) $("delete-count").textContent = failure;
    if (this.plan) $("delete-count").textContent = this.plan.words;
    $("delete-next").disabled = !this.plan;
  }

  wholeCamera() {
    if (!this.camera) throw new Error("The gallery has no camera.");
    const { id, name, tracklets } = this.camera;
    return {
      path: `/api/cameras/${id}`,
      options: { method: "DELETE" },
      words: `Camera ${name} with its videos and ${count(tracklets, "tracklet")}.`,
    };
  }

  async span() {
    const conditions = this.filters.conditions();
    $("delete-span").textContent = this.filters.inWords();
    if (!this.filters.check()) throw new Error("From is later than To: correct the filter first.");
    if (!Object.keys(conditions).length) throw new Error("Set a camera or a time in the filter first.");
    const found = await ask("/api/deletions", { method: "POST", json: { ...conditions, dry_run: true } });
    if (!found.tracklets) throw new Error("No matching tracklets.");
    return {
      path: "/api/deletions",
      options: { method: "POST", json: conditions },
      words: `${count(found.tracklets, "tracklet")}: ${this.filters.inWords()}. The videos stay in the list.`,
    };
  }

  wholeVideo() {
    const video = this.videos.find((other) => other.video === $("delete-video").value);
    if (!video) throw new Error("This camera has no video.");
    return {
      path: `/api/videos/${video.video}`,
      options: { method: "DELETE" },
      words: `The video ${video.source} of camera ${video.camera}, with ${count(video.tracklets, "tracklet")}.`,
    };
  }
}
