/* What users say of people: each statement is told, and can be undone by click or key. */

import { ask } from "./api.js";
import { $, el } from "./dom.js";

export class Statements {
  /** `changed` is called after each; `attempt` runs what may fail. */
  constructor(changed, attempt) {
    this.changed = changed;
    this.said = []; // statements to undo, the latest last: their change and words
    this.undone = [];
    $("toast-undo").addEventListener("click", () => attempt(() => this.undo()));
    $("toast-close").addEventListener("click", () => { $("toast").hidden = true; });
    document.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
      if (event.target.closest("input, textarea, select, dialog")) return;
      event.preventDefault();
      attempt(() => (event.shiftKey ? this.redo() : this.undo()));
    });
  }

  /** Send a statement; its words are what it says. */
  async say(words, path, json) {
    const done = await ask(path, { method: "POST", json });
    this.said.push({ change: done.change, words });
    this.undone = [];
    this.tell(words, "Undo");
    await this.changed();
    return done;
  }

  async undo() {
    const last = this.said.pop();
    if (!last) {
      this.tell("Nothing to undo.", null);
      return;
    }
    const { change } = await this.take(last, this.said);
    this.undone.push({ change, words: last.words });
    this.tell(`Undone: ${last.words}`, null);
    await this.changed();
  }

  async redo() {
    const last = this.undone.pop();
    if (!last) return;
    const { change } = await this.take(last, this.undone);
    this.said.push({ change, words: last.words });
    this.tell(last.words, "Undo");
    await this.changed();
  }

  /** Take a change back; where the service refuses, it stays where it was. */
  async take(last, from) {
    try {
      return await ask("/api/undo", { method: "POST", json: { change: last.change } });
    } catch (error) {
      if (error.status !== 404) from.push(last);
      throw error;
    }
  }

  tell(words, undo) {
    $("toast-words").textContent = words;
    $("toast-undo").hidden = !undo;
    $("toast").hidden = false;
  }
}

/** How a person is called. */
export const nameOf = ({ id, name }) => name || `Person ${id}`;

/** A link to a person's page. */
export const personLink = (id, text) => el("a", { href: `/people/${id}`, "data-view": true }, text);
