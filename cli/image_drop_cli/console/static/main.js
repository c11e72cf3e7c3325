// The page as a whole: its views, the line that says how things are, and what has to be seen.

import { $, counted, foreign, h, money } from "./dom.js";
import { listen, on } from "./bus.js";
import { left } from "./charts.js";
import * as decide from "./decide.js";
import * as drop from "./drop.js";
import * as look from "./look.js";
import * as viewer from "./viewer.js";

const PATHS = { drop: "/", look: "/look", decide: "/decide" };
const banners = new Map(); // name → element
const drops = new Map(); // id → what was sent
let state;

function go(name, { push = true } = {}) {
  for (const view of Object.keys(PATHS)) $(`view-${view}`).hidden = view !== name;
  for (const link of document.querySelectorAll("nav [data-go]")) {
    if (link.dataset.go === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = { drop: "Drop", look: "Look", decide: "Decide" }[name];
  document.title = `${title} · Image Drop`;
  if (push && location.pathname !== PATHS[name]) history.pushState({}, "", PATHS[name]);
  if (push) window.scrollTo(0, 0);
  look.shown(name === "look");
  decide.shown(name === "decide");
}

function banner(name, kind, ...content) {
  banners.get(name)?.remove();
  banners.delete(name);
  if (!content.length) return;
  const element = h("div", { class: `banner ${kind}`, data: { banner: name } }, content);
  banners.set(name, element);
  $("banners").append(element);
}

const link = (words, view, kind = "", ends = "") =>
  h("button", { type: "button", class: kind, text: words, onclick: () => { go(view); if (ends) banner(ends); } });

function counts(numbers) {
  for (const element of document.querySelectorAll("[data-count]")) {
    const count = numbers[element.dataset.count] ?? 0;
    element.textContent = count ? count.toLocaleString("en-US") : "";
    element.hidden = !count;
  }
}

function drawState() {
  const line = $("state");
  const { processing, sample } = state;
  const words = processing.paused ? "Paused" : sample.queued ? `${sample.queued.toLocaleString("en-US")} queued, ${left(sample.seconds_left)}` : "Ready";
  line.className = `state ${processing.paused ? "paused" : "running"}`;
  const full = `${words} · ${money(sample.usd)} today`;
  if (line.querySelector(".words").textContent !== full) line.querySelector(".words").textContent = full;
  if (processing.paused) banner("paused", "bad", h("p", {}, h("strong", { text: "Processing is paused. " }), foreign(processing.detail)), link("See why", "decide"));
  else banner("paused");
}

function progress(now) {
  if (!drops.has(now.drop) && now.of === 1 && !now.problem && !now.not_sent_count) return; // said elsewhere
  const sent = drops.get(now.drop) || { images: now.of };
  if (now.problem) {
    banner(now.drop, "bad", h("p", {}, foreign(now.problem)), close(now.drop));
    return;
  }
  const parts = [h("p", {}, now.sent < now.of ? `Sending ${now.sent.toLocaleString("en-US")} of ${counted(now.of, "photo")}…` : `${now.arrived.toLocaleString("en-US")} of ${counted(now.of, "photo")} done.`,
    now.reports ? ` ${counted(now.reports, "photo")} ${now.reports === 1 ? "needs" : "need"} you.` : "")];
  if (!now.ended) parts.push(h("progress", { max: Math.max(now.of, 1), value: now.arrived, "aria-label": "Photos done" }));
  if (now.not_sent_count) parts.push(h("details", {}, h("summary", { text: `${counted(now.not_sent_count, "file")} not sent` }), h("ul", {}, now.not_sent.map((each) => h("li", {}, foreign(`${each.key}: ${each.reason}`))))));
  if (now.reports) parts.push(link(now.reports === 1 ? "Mend it" : "Mend them", "decide", "primary", now.drop));
  if (now.ended && sent.sample) parts.push(h("p", { text: "Are they good?" }), link(`Yes, go on with all ${sent.of ?? ""}`, "drop", "primary"), link("No, change what to do", "drop"));
  if (now.ended) {
    if (!sent.sample) parts.push(link("Look at them", "look"), h("a", { class: "button primary", href: "/api/results.zip?show=results", download: true, text: "Take all results home" }));
    parts.push(close(now.drop));
  }
  banner(now.drop, now.ended && !now.reports && !now.not_sent_count ? "good" : "info", ...parts);
}

const close = (name) => h("button", { type: "button", class: "icon", "aria-label": "Close this message", text: "✕", onclick: () => banner(name) });

function start() {
  for (const anchor of document.querySelectorAll("nav [data-go]")) {
    anchor.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(anchor.dataset.go);
    });
  }
  window.addEventListener("popstate", () => go(viewOf(location.pathname), { push: false }));
  on("go", (name) => go(name));
  on("sent", (sent) => { drops.set(sent.drop, sent); });
  on("drop", progress);
  on("welcome", (welcome) => { counts(welcome.counts); if (welcome.state) { state = welcome.state; drawState(); } trouble(welcome.problem); });
  on("state", (now) => { state = now; counts(now.counts); drawState(); });
  on("tiles", (now) => counts(now.counts));
  on("problem", trouble);
  on("connection", (connected) => {
    document.body.classList.toggle("gone", !connected);
    banner("gone", "bad", ...(connected ? [] : [h("p", {}, h("strong", { text: "The console has stopped. " }), "Photos that were sent are still being edited. Start it again, and this page goes on by itself.")]));
    if (!connected) $("state").querySelector(".words").textContent = "Not connected";
  });
  viewer.start();
  look.start();
  decide.start();
  go(document.body.dataset.view, { push: false });
  drop.start().catch((error) => banner("form", "bad", h("p", {}, foreign(error.message))));
  listen();
}

const trouble = (problem) => banner("trouble", "bad", ...(problem ? [h("p", {}, foreign(problem))] : []));
const viewOf = (path) => Object.keys(PATHS).find((name) => PATHS[name] === path) || "drop";

start();
