/* Plays the frames of the viewer in time: from where it is to the last, leaving out what is late. */

import { $ } from "./dom.js";

const AHEAD = 5; // frames asked for before they are shown
const FASTEST = 12.5; // frames a second

export class Playback {
  /** `viewer` has `frames`, `place`, `timeOf(place)`, `go(place)` and `prepare(place)`. */
  constructor(viewer) {
    this.viewer = viewer;
    this.playing = false;
    $("play").addEventListener("click", () => this.toggle());
    this.show();
  }

  toggle() {
    if (this.playing) this.stop();
    else this.run();
  }

  stop() {
    this.playing = false;
    this.show();
  }

  async run() {
    const { viewer } = this;
    const last = viewer.frames.length - 1;
    this.playing = true;
    this.show();
    if (viewer.place >= last) await viewer.go(0); // again from entering
    const began = performance.now();
    const first = viewer.timeOf(viewer.place);
    while (this.playing && viewer.dialog.open && viewer.place < last) {
      const due = first + (performance.now() - began) / 1000;
      let next = viewer.place + 1;
      while (next < last && viewer.timeOf(next) < Math.max(due, viewer.timeOf(viewer.place) + 0.9 / FASTEST)) next++;
      const step = next - viewer.place;
      for (let n = 1; n <= AHEAD; n++) viewer.prepare(next + n * step);
      const wait = (viewer.timeOf(next) - due) * 1000;
      if (wait > 0) await new Promise((done) => setTimeout(done, wait));
      if (!this.playing) return;
      if (!(await viewer.go(next))) break;
    }
    this.stop();
  }

  show() {
    $("play").textContent = this.playing ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(this.playing));
  }
}
