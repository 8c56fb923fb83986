/* Forgetting for good: one appearance, several, a camera, a video, or a span of time. */

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

/** Delete; resolves to how many went, null where it was gone already, perhaps by our own first attempt. */
async function forget(path, options) {
  try {
    return await ask(path, options);
  } catch (error) {
    if (error.status !== 404) throw error;
    return { tracklets: null, traces: false };
  }
}

/** Delete one appearance, if that is what the user wants; resolves to what was deleted, or null. */
export async function forgetOne(seen) {
  const text = `The appearance at ${inWords({ ...seen, similarity: undefined })}: its boxes, images and embedding.`;
  if (!(await confirmed(text, `/api/tracklets/${seen.tracklet}/thumbnail`))) return null;
  return forget(`/api/tracklets/${seen.tracklet}`, { method: "DELETE" });
}

/** Delete several appearances, if that is what the user wants; resolves to what was deleted, or null. */
export async function forgetAll(tracklets) {
  const text = `All ${count(tracklets.length, "appearance")} that you marked as right: boxes, images and embeddings.`;
  if (!(await confirmed(text))) return null;
  return forget("/api/deletions", { method: "POST", json: { tracklets } });
}

/** The dialog that deletes cameras, videos and spans of time. */
export class Forgetting {
  constructor(filters, deleted, attempt) {
    this.filters = filters;
    $("forget-what").addEventListener("change", () => this.show());
    $("forget-camera").addEventListener("change", () => this.show());
    $("forget-video").addEventListener("change", () => this.tell());
    $("forget-next").addEventListener("click", () => attempt(async () => {
      const { path, options, words } = this.plan;
      $("forget").close();
      if (await confirmed(words)) await deleted(await forget(path, options));
    }));
  }

  async open(cameras) {
    this.cameras = cameras;
    $("forget-camera").replaceChildren(...cameras.map((camera) => el("option", { value: camera.id }, camera.name)));
    await this.show();
    $("forget").showModal();
  }

  get camera() {
    return this.cameras.find((camera) => String(camera.id) === $("forget-camera").value);
  }

  async show() {
    const what = $("forget-what").value;
    for (const part of document.querySelectorAll("#forget [data-what]")) {
      part.hidden = !part.dataset.what.split(" ").includes(what);
    }
    await this.tell(what === "video" && this.camera ? () => this.listVideos() : undefined);
  }

  async listVideos() {
    this.videos = await askAll(`/api/videos?camera=${encodeURIComponent(this.camera.name)}`);
    $("forget-video").replaceChildren(...this.videos.map((video) =>
      el("option", { value: video.video }, video.start_time ? `${moment(video, 0)} (${video.source})` : video.source)));
  }

  /** Say how much would go, and remember how. */
  async tell(prepare = () => {}) {
    const plans = { camera: () => this.wholeCamera(), video: () => this.wholeVideo(), span: () => this.span() };
    this.plan = null;
    try {
      await prepare();
      this.plan = await plans[$("forget-what").value]();
    } catch (error) {
      $("forget-count").textContent = error.message;
    }
    if (this.plan) $("forget-count").textContent = this.plan.words;
    $("forget-next").disabled = !this.plan;
  }

  wholeCamera() {
    if (!this.camera) throw new Error("There is no camera.");
    const { id, name, tracklets } = this.camera;
    return {
      path: `/api/cameras/${id}`,
      options: { method: "DELETE" },
      words: `Camera ${name} with its videos and ${count(tracklets, "appearance")}.`,
    };
  }

  async span() {
    const conditions = this.filters.conditions();
    $("forget-span").textContent = this.filters.inWords();
    if (!Object.keys(conditions).length) throw new Error("Set a camera or a time there first.");
    const found = await ask("/api/deletions", { method: "POST", json: { ...conditions, dry_run: true } });
    if (!found.tracklets) throw new Error("Nobody was seen there and then.");
    return {
      path: "/api/deletions",
      options: { method: "POST", json: conditions },
      words: `${count(found.tracklets, "appearance")}: ${this.filters.inWords()}. The videos stay in the list.`,
    };
  }

  wholeVideo() {
    const video = this.videos.find((other) => other.video === $("forget-video").value);
    if (!video) throw new Error("This camera has no video.");
    return {
      path: `/api/videos/${video.video}`,
      options: { method: "DELETE" },
      words: `The video ${video.source} of camera ${video.camera}, with ${count(video.tracklets, "appearance")}.`,
    };
  }
}
