// One image: before and after, with what a person decides about it. The keyboard alone suffices.

import { $, Problem, counted, debounced, doing, foreign, get, h, money, named, pictureOf, post, same, toast } from "./dom.js";
import { checkWords, mark } from "./look.js";
import { priced } from "./offer.js";

const at = { tile: undefined, place: 0, facts: undefined, side: "both", zoom: "fit", back: "chequer", beside: false };
let around = {};

export function start() {
  const viewer = $("viewer");
  $("viewer-close").addEventListener("click", () => viewer.close());
  $("previous").addEventListener("click", () => go(-1));
  $("next").addEventListener("click", () => go(1));
  $("slider").addEventListener("input", (event) => { at.side = "both"; split(Number(event.target.value)); drawTools(); });
  $("toggle").addEventListener("click", toggle);
  for (const button of viewer.querySelectorAll("[data-back]")) button.addEventListener("click", () => { at.back = button.dataset.back; drawTools(); });
  for (const button of viewer.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => { at.zoom = button.dataset.zoom; drawTools(); });
  $("keep").addEventListener("click", keep);
  $("not-good").addEventListener("click", () => showAgain($("again").hidden));
  $("life-button").addEventListener("click", () => showLife($("life").hidden));
  viewer.addEventListener("keydown", keys);
  viewer.addEventListener("close", () => { around.closed?.(at.place); at.tile = undefined; });
}

export function open(tile, options) {
  around = options;
  at.place = options.place;
  at.side = "both";
  at.beside = false;
  if (!$("viewer").open) $("viewer").showModal();
  show(tile);
  if (options.again) showAgain(true);
  else $("stage").focus();
}

/** Tiles have changed: if the open one is among them, it is shown as it is now. */
export function refresh(tiles) {
  const now = tiles.find((tile) => same(tile, at.tile));
  if (!now) return;
  const before = at.tile;
  at.tile = now;
  if (now.at !== before.at || now.kind !== before.kind) show(now);
  else drawWords();
}

async function go(by) {
  const tile = await around.step?.(at.place + by);
  if (!tile) return;
  at.place += by;
  at.side = "both";
  at.beside = false;
  show(tile);
}

function show(tile) {
  at.tile = tile;
  at.facts = undefined;
  $("again").hidden = true;
  $("life").hidden = true;
  drawWords();
  drawStage();
  drawTools();
  loadFacts(tile);
}

async function loadFacts(tile) {
  try {
    const facts = await get("explain", { file: tile.file, variant: tile.variant });
    if (!same(tile, at.tile)) return;
    at.facts = facts;
    drawVariants();
    if (!$("life").hidden) drawLife();
  } catch (error) {
    if (same(tile, at.tile) && error.status) toast(error.message, "bad");
  }
}

function drawWords() {
  const { tile } = at;
  $("viewer-name").replaceChildren(...named(tile));
  $("viewer-place").textContent = around.total ? `${(at.place + 1).toLocaleString("en-US")} of ${around.total().toLocaleString("en-US")}` : "";
  const badges = [];
  if (tile.kind === "results") badges.push(tile.reused ? "nothing paid: the same picture was there" : tile.usd ? `cost ${money(tile.usd)}` : "");
  if (tile.kind === "on-the-way") badges.push("on its way");
  if (tile.kind === "needs-you") badges.push("needs you");
  const check = checkWords(tile);
  $("viewer-badges").replaceChildren(
    ...badges.filter(Boolean).map((text) => h("span", { class: "badge", text })),
    check ? h("span", { class: `badge ${tile.check === "passed" ? "good" : "warn"}` }, foreign(check)) : "",
    tile.mark ? h("span", { class: `badge ${tile.mark === "kept" ? "good" : "bad"}`, text: tile.mark }) : "",
    tile.note ? h("span", { class: "badge" }, foreign(tile.note)) : "",
  );
  $("keep").setAttribute("aria-pressed", String(tile.mark === "kept"));
  $("keep").disabled = tile.kind !== "results";
  $("save").href = pictureOf(tile, "after");
  $("save").download = (tile.result || tile.name).split("/").pop();
  $("save").hidden = tile.kind !== "results";
}

function drawStage() {
  const { tile } = at;
  const stage = $("stage");
  const picture = (side) => h("img", { class: side, src: pictureOf(tile, side), alt: side === "before" ? "Before" : "After",
    onerror: (event) => event.target.replaceWith(h("p", { class: `no-picture ${side}`, text: side === "before" ? "This file is not a picture, or it is gone." : "The result is gone." })) });
  if (at.beside && at.facts) {
    stage.replaceChildren(h("div", { class: "beside" }, picture("before") && figure("Before", pictureOf(tile, "before")),
      at.facts.tiles.filter((each) => each.kind === "results").map((each) => figure(each.variant || "After", pictureOf(each, "after")))));
    return;
  }
  const parts = [picture("before")];
  if (tile.kind === "results") parts.push(picture("after"), h("span", { class: "divider" }));
  const pictures = h("div", { class: "pictures" }, parts);
  stage.replaceChildren(pictures);
  pictures.querySelector(".after")?.addEventListener("load", (event) => size(event.target));
  pictures.querySelector(".before").addEventListener("load", (event) => { if (tile.kind !== "results") size(event.target); });
  if (tile.kind !== "results") reason();
  split(Number($("slider").value));
}

async function reason() {
  const { tile } = at;
  const box = h("div", { class: "reason" });
  $("stage").append(box);
  if (tile.kind === "on-the-way") {
    box.append(h("p", {}, h("span", { class: "spinner" }), " On its way. The result appears here."));
    return;
  }
  try {
    const report = await get("report", { file: tile.file, variant: tile.variant });
    box.append(h("h3", {}, foreign(report.title)), h("p", {}, foreign(report.detail)), h("p", {}, foreign(report.what_to_do)));
  } catch (error) {
    box.append(h("p", {}, foreign(error.message)));
  }
}

const figure = (words, source) => h("figure", {}, h("img", { src: source, alt: words }), h("figcaption", { text: words }));

/** The pictures are shown in the size of the result; the photo is fitted into it. */
function size(image) {
  const pictures = $("stage").querySelector(".pictures");
  if (!pictures) return;
  const { naturalWidth: width, naturalHeight: height } = image;
  pictures.style.setProperty("--ratio", `${width} / ${height}`);
  pictures.style.setProperty("--shape", String(width / height));
  pictures.style.setProperty("--width", String(width));
  drawZoom();
}

function drawZoom() {
  const pictures = $("stage").querySelector(".pictures");
  if (!pictures) return;
  const scale = at.zoom === "fit" ? 0 : Number(at.zoom);
  $("stage").classList.toggle("zoomed", Boolean(scale));
  pictures.style.setProperty("--zoom", String(scale / (window.devicePixelRatio || 1)));
}

function split(percent) {
  const shown = at.side === "before" ? 100 : at.side === "after" ? 0 : percent;
  $("stage").style.setProperty("--split", `${shown}%`);
}

function toggle() {
  at.side = at.side === "before" ? "after" : "before";
  split(Number($("slider").value));
  drawTools();
}

function drawTools() {
  const result = at.tile.kind === "results" && !at.beside;
  const stage = $("stage");
  stage.className = `stage ${at.back} ${at.side}`;
  $("slider-box").hidden = !result;
  $("toggle").hidden = !result;
  $("toggle").textContent = at.side === "before" ? "Show after" : "Show before";
  $("toggle").setAttribute("aria-pressed", String(at.side === "before"));
  for (const button of document.querySelectorAll("#viewer [data-back]")) button.setAttribute("aria-pressed", String(button.dataset.back === at.back));
  for (const button of document.querySelectorAll("#viewer [data-zoom]")) button.setAttribute("aria-pressed", String(button.dataset.zoom === at.zoom));
  split(Number($("slider").value));
  drawZoom();
}

function drawVariants() {
  const group = $("variant-group");
  const { tiles } = at.facts;
  group.hidden = tiles.length < 2;
  if (group.hidden) return;
  group.replaceChildren(
    h("button", { type: "button", "aria-pressed": String(at.beside), text: "Side by side", onclick: () => { at.beside = !at.beside; drawStage(); drawTools(); drawVariants(); } }),
    ...tiles.map((each) => h("button", { type: "button", "aria-pressed": String(!at.beside && same(each, at.tile)), onclick: () => { at.beside = false; at.tile = each; drawWords(); drawStage(); drawTools(); drawVariants(); } }, foreign(each.variant || "whole"))),
  );
}

async function keep() {
  const { tile } = at;
  const keeping = tile.mark !== "kept";
  await mark(tile, "kept");
  if (keeping) go(1);
}

// --- not good: reject it with a note, or make it again with other words

function showAgain(now) {
  $("again").hidden = !now;
  $("not-good").setAttribute("aria-expanded", String(now));
  if (now) { showLife(false); drawAgain(); }
}

async function drawAgain() {
  const { tile } = at;
  const form = $("again");
  form.replaceChildren(h("p", { text: "One moment…" }));
  if (!at.facts) await loadFacts(tile);
  if (!same(tile, at.tile) || !at.facts) return;
  const request = at.facts.requests.find((each) => (each.variant || "") === tile.variant) || at.facts.requests[0];
  const given = Object.fromEntries(at.facts.given.map((each) => [each.key, each.value]));
  const words = request?.parameters.prompt ?? given.prompt ?? "";
  const cutOut = request?.endpoint.includes("background-remove") || (!request && given.mode === "background-remove");
  const note = h("input", { id: "note", type: "text", value: tile.note, maxLength: 500, placeholder: "What is wrong with it?" });
  const prompt = h("textarea", { id: "again-prompt", rows: 3, value: words, placeholder: cutOut ? "Say how the photo should be changed, instead of only cut out" : "" });
  const retry = h("button", { type: "button", class: "primary", text: "…", disabled: true });
  const reject = h("button", { type: "button", class: "bad", text: "Reject" });
  form.replaceChildren(
    ...(tile.kind === "results" ? [h("div", { class: "half" }, h("label", { for: "note", text: "Reject it" }), note, reject)] : []),
    h("div", { class: "half" }, h("label", { for: "again-prompt", text: cutOut ? "Make it again, or say how" : "Make it again, with these words" }), prompt, retry),
  );
  reject.addEventListener("click", () => doing(reject, async () => {
    await post("decide", { images: [[tile.file, tile.variant]], verdict: "rejected", note: note.value });
    showAgain(false);
    go(1);
  }));
  let offer;
  const price = debounced(async () => {
    retry.disabled = true;
    retry.textContent = "…";
    const text = prompt.value.trim();
    const changed = text && text !== words;
    const images = [[tile.file, tile.variant]];
    try {
      const instructions = cutOut ? { mode: "edit", prompt: text } : { prompt: text };
      offer = changed ? await post("rewrite", { images, instructions }) : await post("retry", { images, fresh: tile.kind === "results" });
      if (!same(tile, at.tile)) return;
      if (offer.problems.length) throw new Problem(`${offer.problems[0].detail} ${offer.problems[0].what_to_do}`, 400);
      retry.textContent = priced(changed ? "Make it like this" : "Make it again", offer);
      retry.disabled = false;
    } catch (error) {
      retry.textContent = "Make it again";
      toast(error.message, "bad");
    }
  }, 350);
  prompt.addEventListener("input", price);
  retry.addEventListener("click", () => doing(retry, async () => {
    await post("accept", { offer: offer.offer });
    toast("On its way. The new result takes its place.");
    showAgain(false);
  }));
  price();
  (tile.kind === "results" ? note : prompt).focus();
}

// --- its life, as `image-drop explain` tells it

function showLife(now) {
  $("life").hidden = !now;
  $("life-button").setAttribute("aria-expanded", String(now));
  if (now) { showAgain(false); drawLife(); }
}

function drawLife() {
  const box = $("life");
  const { facts } = at;
  if (!facts) {
    box.replaceChildren(h("p", { text: "One moment…" }));
    return;
  }
  const time = (seconds) => new Date(seconds * 1000).toLocaleString();
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const states = [...(facts.state ? [[null, facts.state]] : []), ...facts.requests.map((each) => [each.variant, each.state])];
  box.replaceChildren(
    h("h3", { text: "Where it is" }),
    ...states.map(([variant, state]) => h("p", {}, variant ? h("strong", { text: `${variant}: ` }) : "", foreign(`${state.text} ${state.what_to_do}`))),
    facts.problem && !facts.state ? h("p", {}, foreign(`${facts.problem} ${facts.advice || ""}`)) : "",
    facts.ignored.length ? h("p", {}, "Not followed, because strangers can upload there: ", foreign(facts.ignored.join(", "))) : "",
    facts.given.length ? h("h3", { text: "Its instructions" }) : "",
    h("dl", {}, facts.given.map((each) => [h("dt", { text: each.key }), h("dd", {}, foreign(text(each.value)), h("span", { class: "help" }, " from ", foreign(each.source)))])),
    facts.life.length ? h("h3", { text: "Its life so far" }) : "",
    h("ol", { class: "life" }, facts.life.map((each) => h("li", {}, h("time", { text: time(each.at) }), " ", foreign(each.variant ? `${each.variant}: ${each.what}` : each.what)))),
    facts.older.length ? h("p", {}, `${counted(facts.older.length, "older result")} next to it: `, foreign(facts.older.join(", "))) : "",
  );
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("textarea, input:not([type=range]), select");
  if (typing) {
    if (event.key === "Enter" && event.target.id === "note") { event.preventDefault(); event.target.nextElementSibling.click(); }
    return;
  }
  const slider = event.target.matches("input[type=range]");
  const button = event.target.matches("button, a");
  if (event.key === " " && !button) { event.preventDefault(); toggle(); }
  else if (event.key === "ArrowRight" && !slider) { event.preventDefault(); go(1); }
  else if (event.key === "ArrowLeft" && !slider) { event.preventDefault(); go(-1); }
  else if (event.key === "k") keep();
  else if (event.key === "r") { event.preventDefault(); showAgain(true); }
  else if (event.key === "i") showLife($("life").hidden);
  else if (event.key === "z") { at.zoom = at.zoom === "fit" ? "1" : "fit"; drawTools(); }
}
