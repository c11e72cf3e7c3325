// Look: the gallery. Only what is on the screen is in the document, however many images there are.

import { $, counted, foreign, get, h, pictureOf, post, toast } from "./dom.js";
import { on } from "./bus.js";
import { open as openViewer, refresh as refreshViewer } from "./viewer.js";

const PAGE = 120; // tiles of one request
const KEPT_PAGES = 12;
const MARGIN = 400; // pixels above and below the screen that are drawn, too
const SETTLED = 80; // milliseconds without scrolling until pictures are asked for

const view = { show: "all", text: "", order: "new" };
const gallery = { total: 0, version: 0, pages: new Map(), current: 0 };
const drawn = new Map(); // place → element
let columns = 1;
let cell = { width: 0, height: 0 };
let visible = false;
let lastScroll = 0;

export function start() {
  const grid = $("grid");
  window.addEventListener("scroll", () => { lastScroll = performance.now(); schedule(); }, { passive: true });
  new ResizeObserver(() => { measure(); draw(true); }).observe(grid);
  grid.addEventListener("keydown", keys);
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest("button.tile");
    if (tile) openAt(Number(tile.dataset.place));
  });
  grid.addEventListener("focusin", (event) => {
    const tile = event.target.closest("button.tile");
    if (tile) gallery.current = Number(tile.dataset.place);
  });
  for (const button of $("shows").querySelectorAll("button")) button.addEventListener("click", () => show(button.dataset.show));
  $("find").addEventListener("input", (event) => { view.text = event.target.value.trim(); restart(); });
  $("order").addEventListener("change", (event) => { view.order = event.target.value; restart(); });
  on("tiles", changed);
  on("welcome", ({ version, counts }) => { takeCounts(counts); if (version !== gallery.version) forgetPages(version); });
  on("state", ({ version, counts }) => { takeCounts(counts); if (version !== gallery.version) forgetPages(version); });
}

export function shown(now) {
  visible = now;
  if (!now) return;
  measure();
  if (gallery.pages.size) draw(true);
  else load(0);
}

export function show(name) {
  view.show = name;
  for (const button of $("shows").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.show === name));
  restart();
}

export const query = () => ({ show: view.show, text: view.text, order: view.order });

function restart() {
  gallery.pages.clear();
  for (const element of drawn.values()) leave(element);
  drawn.clear();
  gallery.current = 0;
  window.scrollTo(0, 0);
  links();
  load(0, true);
}

function links() {
  const chosen = view.show === "all" ? { ...query(), show: "results" } : query();
  $("take").href = `/api/results.zip?${new URLSearchParams(chosen)}`;
  $("csv").href = `/api/manifest.csv?${new URLSearchParams(query())}`;
}

let known = {};
function takeCounts(counts) {
  known = counts;
  links();
  const kept = view.show in counts && !["all", "on-the-way", "needs-you", "set-aside"].includes(view.show) ? counts[view.show] : counts.results;
  $("take").textContent = view.text ? "Take these home" : `Take ${view.show === "kept" ? "the kept " : ""}${counted(kept, "result")} home`;
  $("take").classList.toggle("off", !kept);
  $("take").setAttribute("aria-disabled", String(!kept));
}

function forgetPages(version) {
  gallery.version = version;
  stale = true;
  schedule();
}

let stale = false;

/** Some tiles have changed: those that are known are replaced where they are. */
function changed({ version, counts, tiles }) {
  const told = new Map(tiles.map((tile) => [`${tile.file}\n${tile.variant}`, tile]));
  let unknown = !tiles.length || view.show !== "all" || Boolean(view.text);
  for (const page of gallery.pages.values()) {
    page.forEach((tile, place) => {
      const now = told.get(`${tile.file}\n${tile.variant}`);
      if (!now) return;
      page[place] = now;
      told.delete(`${tile.file}\n${tile.variant}`);
    });
  }
  unknown ||= told.size > 0;
  gallery.version = version;
  if (unknown) stale = true;
  takeCounts(counts);
  draw(true);
  refreshViewer(tiles);
}

let asking = new Map();
async function load(page, again = false) {
  if (asking.has(page) && !again) return;
  const asked = JSON.stringify(query());
  const request = get("tiles", { ...query(), first: page * PAGE, most: PAGE });
  asking.set(page, request);
  try {
    const found = await request;
    if (asked !== JSON.stringify(query())) return;
    gallery.total = found.total;
    gallery.version = found.version;
    gallery.pages.set(page, found.tiles);
    while (gallery.pages.size > KEPT_PAGES) gallery.pages.delete(gallery.pages.keys().next().value);
    takeCounts(found.counts);
    draw(true);
  } catch (error) {
    if (error.status) toast(error.message, "bad");
  } finally {
    if (asking.get(page) === request) asking.delete(page);
  }
}

export function at(place) {
  return gallery.pages.get(Math.floor(place / PAGE))?.[place % PAGE];
}

function measure() {
  const width = $("grid").clientWidth;
  if (!width) return;
  const wanted = width < 500 ? 150 : 210;
  columns = Math.max(2, Math.floor(width / wanted));
  cell = { width: Math.floor(width / columns), height: Math.floor(width / columns) + 34 };
}

let scheduled = 0;
function schedule() {
  scheduled ||= requestAnimationFrame(() => { scheduled = 0; draw(); });
}

/** Put the tiles of the screen into the document. `all`: also those that are there already. */
function draw(all = false) {
  if (!visible || !cell.width) return;
  const grid = $("grid");
  const rows = Math.ceil(gallery.total / columns);
  grid.style.setProperty("height", `${rows * cell.height}px`);
  const top = grid.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((-top - MARGIN) / cell.height)) * columns;
  const last = Math.min(gallery.total, Math.ceil((window.innerHeight - top + MARGIN) / cell.height) * columns);
  for (const [place, element] of drawn) {
    if (place < first || place >= last) {
      if (!element.contains(document.activeElement)) { leave(element); drawn.delete(place); }
    }
  }
  const settled = performance.now() - lastScroll >= SETTLED;
  for (let place = first; place < last; place += 1) {
    const tile = at(place);
    let element = drawn.get(place);
    if (!element) {
      element = h("li", { class: "cell" });
      drawn.set(place, element);
      grid.append(element);
      fill(element, place, tile, settled);
      put(element, place);
    } else {
      if (all || element.tile !== tile || (settled && element.bare)) fill(element, place, tile, settled);
      put(element, place);
    }
  }
  if (!settled) setTimeout(schedule, SETTLED);
  if (last > first && settled) {
    for (let page = Math.floor(first / PAGE); page <= Math.floor((last - 1) / PAGE); page += 1) {
      if (!gallery.pages.has(page) || stale) load(page);
    }
  } else if (stale && !gallery.total) load(0);
  if (settled) stale = false;
  empty();
}

/** Take a tile away; its picture is no longer waited for, so that the next ones come sooner. */
function leave(element) {
  element.querySelector("img")?.removeAttribute("src");
  element.remove();
}

function put(element, place) {
  const x = (place % columns) * cell.width;
  const y = Math.floor(place / columns) * cell.height;
  element.style.setProperty("transform", `translate(${x}px, ${y}px)`);
  element.style.setProperty("width", `${cell.width}px`);
  element.style.setProperty("height", `${cell.height}px`);
}

const KINDS = { results: "result", "needs-you": "needs you", "set-aside": "set aside", "on-the-way": "on its way" };

function fill(element, place, tile, settled) {
  element.setAttribute("aria-setsize", String(gallery.total));
  element.setAttribute("aria-posinset", String(place + 1));
  const button = element.firstChild ?? element.appendChild(h("button", { type: "button" }));
  button.dataset.place = String(place);
  button.tabIndex = place === gallery.current ? 0 : -1;
  element.tile = tile;
  if (!tile) {
    button.className = "tile loading";
    button.replaceChildren(h("span", { class: "sr", text: `Image ${place + 1}` }));
    return;
  }
  const side = tile.kind === "results" ? "after" : "before";
  const source = pictureOf(tile, side, "thumbnail");
  const old = button.querySelector("img");
  const known = old?.getAttribute("src") === source;
  element.bare = !settled && !known;
  button.className = `tile ${tile.kind} ${tile.mark}`;
  const picture = known ? old : element.bare ? "" : h("img", { src: source, alt: "", decoding: "async", onerror: (event) => event.target.replaceWith(h("span", { class: "no-picture", "aria-hidden": "true", text: "no picture" })) });
  const words = [tile.name, tile.variant, KINDS[tile.kind], tile.mark, checkWords(tile)].filter(Boolean).join(", ");
  button.replaceChildren(
    foreign(words, { class: "sr" }),
    h("span", { class: `frame ${side}`, "aria-hidden": "true" }, picture, badge(tile)),
    h("span", { class: "name", "aria-hidden": "true" }, foreign(tile.name.split("/").pop()), tile.variant ? h("span", { class: "variant-name", text: ` ${tile.variant}` }) : ""),
  );
}

export function checkWords(tile) {
  if (!tile.check) return "";
  return tile.check === "passed" ? "passes its shop's rules" : `its shop would refuse it: ${tile.check}`;
}

function badge(tile) {
  const marks = [];
  if (tile.kind === "on-the-way") marks.push(h("span", { class: "badge way" }, h("span", { class: "spinner" }), "on its way"));
  if (tile.kind === "needs-you") marks.push(h("span", { class: "badge bad", text: "needs you" }));
  if (tile.kind === "set-aside") marks.push(h("span", { class: "badge", text: "set aside" }));
  if (tile.mark === "kept") marks.push(h("span", { class: "badge good", text: "✓ kept" }));
  if (tile.mark === "rejected" && tile.kind === "results") marks.push(h("span", { class: "badge bad", text: "✕ rejected" }));
  if (tile.check) marks.push(h("span", { class: `badge ${tile.check === "passed" ? "good" : "warn"}`, text: tile.check === "passed" ? "✓ shop" : "! shop" }));
  return h("span", { class: "badges" }, marks);
}

function empty() {
  const words = {
    all: "Nothing here yet. Drop some photos, and they appear as they get done.",
    results: "No results yet.",
    undecided: "You have looked at all results.",
    kept: "Nothing kept yet. Open a result and press k, or Keep.",
    rejected: "Nothing rejected.",
    "on-the-way": "Nothing is on its way.",
    "needs-you": "Nothing needs you.",
  };
  const none = gallery.pages.has(0) && !gallery.total;
  $("nothing").hidden = !none;
  if (none) $("nothing").textContent = view.text ? "No image has such a name." : words[view.show] || "Nothing here.";
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -gallery.total, End: gallery.total,
    PageDown: columns * Math.max(1, Math.floor(window.innerHeight / cell.height) - 1), PageUp: -columns * Math.max(1, Math.floor(window.innerHeight / cell.height) - 1) };
  if (event.key in steps) {
    event.preventDefault();
    focusAt(gallery.current + steps[event.key]);
  } else if (event.key === " ") {
    event.preventDefault();
    openAt(gallery.current);
  } else if (event.key === "k") mark(at(gallery.current), "kept");
  else if (event.key === "r") openAt(gallery.current, { again: true });
}

function focusAt(place) {
  gallery.current = Math.min(Math.max(0, place), Math.max(0, gallery.total - 1));
  const top = $("grid").getBoundingClientRect().top + window.scrollY + Math.floor(gallery.current / columns) * cell.height;
  const header = 130;
  if (top < window.scrollY + header) window.scrollTo(0, top - header);
  else if (top + cell.height > window.scrollY + window.innerHeight) window.scrollTo(0, top + cell.height - window.innerHeight + 12);
  draw();
  for (const [at, element] of drawn) element.querySelector("button.tile").tabIndex = at === gallery.current ? 0 : -1;
  drawn.get(gallery.current)?.querySelector("button.tile").focus({ preventScroll: true });
}

export async function mark(tile, verdict, note = "") {
  if (!tile || tile.kind === "on-the-way") return;
  const same = tile.mark === verdict && !note;
  try {
    await post("decide", { images: [[tile.file, tile.variant]], verdict: same ? null : verdict, note });
  } catch (error) {
    toast(error.message, "bad");
  }
}

export async function openAt(place, options = {}) {
  const tile = at(place);
  if (!tile) return;
  gallery.current = place;
  openViewer(tile, { ...options, step, place, total: () => gallery.total, closed: (last) => { if (last >= 0) focusAt(last); } });
}

/** Return the tile at another place, after asking for it if need be. */
async function step(place) {
  if (place < 0 || place >= gallery.total) return undefined;
  if (!at(place)) await load(Math.floor(place / PAGE));
  gallery.current = place;
  return at(place);
}

