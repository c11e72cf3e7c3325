// Elements, words for numbers, and requests. Text of strangers only ever becomes text.

export const $ = (id) => document.getElementById(id);

/** An element. `attributes`: `class`, `text`, `on…` handlers, `data`, properties, else attributes. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || (name in element && typeof value !== "string")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A text of somebody else: isolated, so that it turns nothing around it. */
export const foreign = (text, attributes = {}) => h("bdi", { text, dir: "auto", ...attributes });

export const money = (usd) =>
  usd.toLocaleString("en-US", {
    style: "currency",
    currency: "USD",
    maximumFractionDigits: usd && usd < 0.01 ? 4 : 2,
  });

export const counted = (count, noun, several = `${noun}s`) =>
  `${count.toLocaleString("en-US")} ${count === 1 ? noun : several}`;

export function lasts(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

/** An error that a person can read. `status`: of HTTP, 0 if nothing answered. */
export class Problem extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

async function answered(request) {
  let answer;
  try {
    answer = await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The console does not answer. Start it again; this page goes on by itself.", 0);
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(value.problem || `The console answered ${answer.status}.`, answer.status);
  return value;
}

export const get = (path, query = {}, options = {}) =>
  answered(fetch(`/api/${path}?${new URLSearchParams(query)}`, options));

export const post = (path, body = {}, options = {}) =>
  answered(
    fetch(`/api/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...options,
    }),
  );

export const put = (path, query, body) =>
  answered(fetch(`/api/${path}?${new URLSearchParams(query)}`, { method: "PUT", body }));

export const pictureOf = (tile, side, what = "picture") =>
  `/api/${what}?${new URLSearchParams({ file: tile.file, variant: tile.variant, side, v: tile.at })}`;

export const same = (one, other) => one && other && one.file === other.file && one.variant === other.variant;

export function debounced(work, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

/** A short message that goes away. `kind`: "good" or "bad". */
export function toast(text, kind = "good") {
  const element = h("p", { class: `toast ${kind}` }, foreign(text));
  $("toasts").append(element);
  setTimeout(() => element.remove(), kind === "bad" ? 12000 : 5000);
}

/** Do something for a button, once at a time; a problem becomes a message. */
export async function doing(button, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    toast(error.message, "bad");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** The name of an image, without its folder, and the folder in small letters. */
export function named(tile) {
  const slash = tile.name.lastIndexOf("/");
  const folder = tile.name.slice(0, slash + 1);
  return [
    foreign(tile.name.slice(slash + 1)),
    tile.variant ? ` · ${tile.variant}` : "",
    folder ? h("span", { class: "folder" }, " in ", foreign(folder.slice(0, -1))) : "",
  ];
}
