/* Requests to the service: retried when it is busy, repeated after signing in. */

const ATTEMPTS = 5;

let signIn = () => Promise.reject(new Refused(401, "a token is required"));

/** The service refused a request. */
export class Refused extends Error {
  /** `boxes` are of the people in an image, of whom one is to be chosen. */
  constructor(status, detail, boxes = null) {
    super(detail);
    this.status = status;
    this.boxes = boxes;
  }
}

/** Set the function that asks the user for a token. */
export function onUnknown(ask) {
  signIn = ask;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function answered(path, options) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(path, { cache: "no-store", ...options });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "The service cannot be reached: is it still running?");
    }
    if (response.status === 503 && attempt < ATTEMPTS) {
      await pause(Number(response.headers.get("Retry-After")) || 1);
    } else if (response.status === 401 && path !== "/api/session") {
      await signIn();
    } else if (response.ok) {
      return response;
    } else {
      const problem = problemOf(await response.text());
      throw new Refused(response.status, problem.detail, problem.boxes);
    }
  }
}

function problemOf(text) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // a proxy's page, perhaps
  }
  const detail = typeof problem.detail === "string" ? problem.detail : "the service failed";
  return { detail: detail.charAt(0).toUpperCase() + detail.slice(1), boxes: problem.boxes };
}

/** The response to a request, as an object. */
export async function ask(path, { method = "GET", json, form, signal } = {}) {
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  const body = json === undefined ? form : JSON.stringify(json);
  return (await answered(path, { method, headers, body, signal })).json();
}

/** A file. */
export async function askFile(path) {
  return (await answered(path, {})).blob();
}

/** An image, as an object URL. */
export async function askImage(path) {
  return URL.createObjectURL(await askFile(path));
}

/** All items of a paged list, up to a maximum. */
export async function askAll(path, most = 1000) {
  const items = [];
  const joint = path.includes("?") ? "&" : "?";
  let after = 0;
  while (after !== null && items.length < most) {
    const page = await ask(`${path}${joint}limit=200&after=${after}`);
    items.push(...page.items);
    after = page.next;
  }
  return items;
}
