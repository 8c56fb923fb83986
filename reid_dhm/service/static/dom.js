/* Small helpers over the document. */

export const $ = (id) => document.getElementById(id);

/** Make an element: attributes by name, handlers as on…, the rest are children. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Tell those who cannot see the page what changed. */
export function say(text) {
  const status = $("status");
  status.textContent = "";
  requestAnimationFrame(() => { status.textContent = text; });
}

/** Show a sentence where something went wrong, or nothing. */
export function showProblem(place, text) {
  place.textContent = text || "";
  place.hidden = !text;
}

const DRAWINGS = {
  bin: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5M6.8 7v4M9.2 7v4",
  close: "M4 4l8 8M12 4l-8 8",
  menu: "M3 4.5h10M3 8h10M3 11.5h10",
  first: "M4 3.5v9M12.5 3.5L6.5 8l6 4.5z",
  previous: "M11 3.5L5 8l6 4.5z",
  next: "M5 3.5L11 8l-6 4.5z",
  last: "M12 3.5v9M3.5 3.5L9.5 8l-6 4.5z",
};

/** A small drawing for a button, which has to say itself what it does. */
export function icon(name) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS(drawing.namespaceURI, "path");
  drawing.setAttribute("viewBox", "0 0 16 16");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  line.setAttribute("d", DRAWINGS[name]);
  drawing.append(line);
  return drawing;
}

/** Put drawings where the page has buttons for them. */
export function drawIcons() {
  for (const button of document.querySelectorAll("[data-icon]")) button.append(icon(button.dataset.icon));
}

/** An image that is asked for again when the service was busy. */
export function image(src, alt, attributes = {}) {
  let attempts = 0;
  const image = el("img", { src, alt, loading: "lazy", decoding: "async", ...attributes });
  image.addEventListener("error", () => {
    if (attempts++ < 3) setTimeout(() => { image.src = src; }, 800 * attempts);
  });
  return image;
}

/** Let everything marked data-close close the dialog it is in. */
export function wireClosing() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-close]");
    if (button) button.closest("dialog").close();
  });
}

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
