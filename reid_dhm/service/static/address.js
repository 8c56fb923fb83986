/* The address of the page: the view, and in it what is searched for, marked and filtered. */

const LISTS = ["tracklet", "confirmed", "rejected", "camera"];
const TEXTS = ["video", "frame", "box", "pictures", "from", "to", "top", "min", "cameras", "hidden"];

/** The view of an address: its name, and the number of a person or case. */
export function viewOf({ pathname }) {
  const found = /^\/(people|cases)(?:\/(\d+))?$/.exec(pathname);
  if (!found) return { name: "search", id: null };
  const id = found[2] ? Number(found[2]) : null;
  if (found[1] === "cases") return id ? { name: "search", id, case: true } : { name: "cases", id };
  return { name: id ? "person" : "people", id };
}

/** What an address says beside the view; lists by name, and texts. */
export function readState(search) {
  const params = new URLSearchParams(search);
  const state = {};
  for (const name of LISTS) if (params.has(name)) state[name] = params.getAll(name);
  for (const name of TEXTS) if (params.get(name)) state[name] = params.get(name);
  return state;
}

/** The other way round; nothing for what is empty. */
export function writeState(state) {
  const params = new URLSearchParams();
  for (const name of LISTS) for (const value of state[name] || []) params.append(name, value);
  for (const name of TEXTS) if (state[name] !== undefined && state[name] !== "") params.set(name, state[name]);
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** Show an address in the browser's bar: as a new entry of its history, or in place of the last. */
export function show(path, { replace = false } = {}) {
  if (path === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
}
