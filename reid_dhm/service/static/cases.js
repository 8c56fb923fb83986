/* The list of cases. */

import { ask } from "./api.js";
import { $, count, el, image } from "./dom.js";
import { confirmed as agreed } from "./deletion.js";

export class Cases {
  /** `page` has `may(role)`, `attempt(action)`. */
  constructor(page) {
    this.page = page;
  }

  async open() {
    const cases = await ask("/api/cases");
    $("cases-about").textContent = this.page.may("administrator") ? "everybody's" : "yours";
    const none = el("li", { class: "empty" }, "No case yet: search for a person, confirm candidates, and save them as a case.");
    $("cases-list").replaceChildren(...(cases.length ? cases.map((each) => this.card(each)) : [none]));
  }

  card(each) {
    const right = each.marks.filter((mark) => mark.confirmed);
    const first = each.images.length ? `/api/cases/${each.id}/pictures/${each.images[0]}` : right.length && `/api/tracklets/${right[0].tracklet}/thumbnail`;
    const changed = new Date(each.changed).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    return el("li", { class: "case" },
      first ? image(first, "") : el("span", { class: "no-image" }),
      el("div", {},
        el("h2", {}, el("a", { href: `/cases/${each.id}`, "data-view": true }, each.title)),
        el("p", { class: "small" }, `${count(right.length, "confirmed appearance")}, ${each.marks.length - right.length} rejected; ${each.owner}, ${changed}`),
        each.notes ? el("p", { class: "notes" }, each.notes) : null,
        el("p", { class: "side" },
          right.length > 0 && el("a", { class: "button", href: `/api/cases/${each.id}/report`, download: true }, "Export report"),
          this.page.may("administrator") && el("button", { type: "button", onclick: () => this.remove(each) }, "Delete…"))));
  }

  remove(each) {
    return this.page.attempt(async () => {
      if (!(await agreed(`The case “${each.title}”: its images, marks and notes. The footage stays.`))) return;
      await ask(`/api/cases/${each.id}`, { method: "DELETE" });
      await this.open();
      $("main").focus();
    });
  }
}
