// Decide: what failed and how to mend it, pausing, the day's limit, photos without a result.

import { $, counted, debounced, doing, foreign, get, h, money, named, pictureOf, post, put, toast } from "./dom.js";
import { on } from "./bus.js";
import * as charts from "./charts.js";
import { InstructionForm, formFacts } from "./form.js";
import { dialog, planLines, priced, problemList, propose } from "./offer.js";
import { open as openViewer } from "./viewer.js";

const samples = [];
let visible = false;
let state;

export function start() {
  on("welcome", (welcome) => { samples.splice(0, samples.length, ...welcome.history); if (welcome.state) take(welcome.state); });
  on("state", (now) => { samples.push(now.sample); if (samples.length > 240) samples.shift(); take(now); });
  on("tiles", () => reload());
  $("backfill").addEventListener("submit", (event) => { event.preventDefault(); backfill(event.submitter); });
}

export function shown(now) {
  visible = now;
  if (!now) return;
  if (state) draw();
  loadGroups();
  loadSpend();
}

function take(now) {
  const dead = state?.dead;
  state = now;
  if (!visible) return;
  draw();
  if (dead !== now.dead) loadGroups();
}

function draw() {
  charts.draw($("charts"), samples);
  drawProcessing();
  drawDead();
  drawBackfill();
}

let shownProcessing = "";
function drawProcessing() {
  const { processing, today } = state;
  const now = JSON.stringify([processing.paused, processing.reason, processing.detail, today.limit_usd]);
  if (now === shownProcessing) return;
  shownProcessing = now;
  const pause = h("button", { type: "button", text: processing.paused ? "Resume" : "Pause", class: processing.paused ? "primary" : "" });
  pause.addEventListener("click", () => doing(pause, async () => {
    const change = await post(processing.paused ? "resume" : "pause");
    toast(change.now.stopped ? (processing.paused ? `It stays paused. ${change.now.detail}` : "Paused. Calls in progress still end; photos are queued.") : "Resumed.", change.now.stopped && processing.paused ? "bad" : "good");
  }));
  const limit = h("input", { type: "number", min: "0.01", step: "0.01", value: String(today.limit_usd || ""), "aria-label": "Spend limit of today, in dollars", inputMode: "decimal" });
  const set = h("button", { text: "Set" });
  const form = h("form", { class: "line", autocomplete: "off" }, h("label", {}, "Limit of today $ ", limit), set);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    doing(set, async () => {
      const day = await post("limit", { usd: Number(limit.value) });
      toast(`Today may cost ${money(day.limit_usd)}.`);
    });
  });
  $("processing").className = processing.paused ? "line processing paused" : "line processing";
  $("processing").replaceChildren(
    h("p", {}, h("strong", { text: processing.paused ? "Processing is paused. " : "Processing runs. " }),
      processing.paused ? foreign(`${processing.detail} ${processing.reason === "paused_by_hand" ? "" : processing.how_it_resumes}`) : "Photos are edited as fast as Venice allows."),
    pause, form);
}

function drawDead() {
  const box = $("dead");
  if (!state.dead) { box.replaceChildren(); return; }
  if (box.dataset.count === String(state.dead) && box.childElementCount) return;
  box.dataset.count = String(state.dead);
  const button = h("button", { type: "button", id: "redrive", text: "Retry them all" });
  button.addEventListener("click", () => doing(button, async () => {
    await propose("Retry all dead letters", "redrive", {}, "Retry them", "Queued again, with fresh attempts.");
  }));
  box.replaceChildren(h("div", { class: "group line" }, h("p", {}, h("strong", { text: counted(state.dead, "dead letter") }), ": photos that were tried until the last attempt."), button));
}

function drawBackfill() {
  const scan = state.backfill;
  const words = $("backfill-state");
  if (!scan) { words.textContent = ""; return; }
  const what = `${counted(scan.seen, "photo")} looked at, ${scan.queued.toLocaleString("en-US")} queued`;
  if (scan.finished === null && !scan.cancelled) {
    if (words.querySelector("button")) return;
    const stop = h("button", { type: "button", text: "Stop it" });
    stop.addEventListener("click", () => doing(stop, async () => { await post("backfill/cancel"); toast("Stopped. What is queued is still edited."); }));
    words.replaceChildren(`It is running: ${what}. `, stop);
  } else words.textContent = scan.automatic ? "" : `The last one has ${scan.cancelled ? "been stopped" : "ended"}: ${what}.`;
}

async function backfill(button) {
  await doing(button, () => propose("Photos without a result", "backfill", { prefix: $("backfill-prefix").value.trim() }, "Edit them", "Started. The first photos are queued within minutes."));
}

async function loadSpend() {
  try {
    const found = await get("spend");
    const days = found.parts.filter((part) => part.usd > 0).slice(-30);
    const most = Math.max(...days.map((day) => day.usd), 0.01);
    $("spend").replaceChildren(
      h("p", {}, h("strong", { text: money(found.usd) }), ` for ${counted(found.calls, "call")}.`, found.reused ? ` ${money(found.saved_usd)} saved by reusing ${counted(found.reused, "result")}.` : ""),
      h("ol", { class: "days" }, days.map((day) => h("li", {}, h("span", { text: day.name }), h("meter", { min: 0, max: most, value: day.usd, "aria-label": `${day.name}: ${money(day.usd)}` }), h("span", { text: money(day.usd) })))));
  } catch (error) {
    $("spend").replaceChildren(h("p", {}, foreign(error.message)));
  }
}

const reload = debounced(() => { if (visible) loadGroups(); }, 400);

let asked = 0;
async function loadGroups() {
  const turn = (asked += 1);
  try {
    const found = await get("groups");
    if (turn !== asked) return;
    drawGroups(found.groups);
  } catch (error) {
    if (turn === asked && error.status) toast(error.message, "bad");
  }
}

let shownGroups = "";
function drawGroups(groups) {
  const now = JSON.stringify(groups);
  if (now === shownGroups) return;
  shownGroups = now;
  const focused = document.activeElement?.id;
  $("groups").replaceChildren(...(groups.length ? groups.map(group) : [h("p", { class: "empty", text: "Nothing needs you." })]));
  if (focused) document.getElementById(focused)?.focus();
}

function group(found) {
  const images = found.tiles.map((tile) => [tile.file, tile.variant]);
  const retry = h("button", { type: "button", id: `retry-${found.code}`, text: found.count === 1 ? "Retry it" : `Retry all ${found.count.toLocaleString("en-US")}` });
  retry.addEventListener("click", () => doing(retry, () => propose(`Retry ${counted(found.count, "photo")}`, "retry", { code: found.code }, "Retry", "Queued again.")));
  const aside = h("button", { type: "button", id: `aside-${found.code}`, text: found.count === 1 ? "Set it aside" : "Set these aside" });
  aside.addEventListener("click", () => doing(aside, async () => { await post("decide", { images, verdict: "rejected" }); toast("Set aside. They stay as they are."); }));
  const cures = [];
  if (found.cure === "instruct") {
    const say = h("button", { type: "button", id: `say-${found.code}`, class: "primary", text: "Say what to do" });
    say.addEventListener("click", () => doing(say, () => instruct(found)));
    cures.push(say);
  }
  if (found.cure === "retry") retry.className = "primary";
  cures.push(...(found.cure === "replace" ? [] : [retry]), aside);
  return h("section", { class: "group", "aria-labelledby": `group-${found.code}` },
    h("div", { class: "line" }, h("h3", { id: `group-${found.code}`, text: `${counted(found.count, "photo")}: ${found.title}` }), h("p", { class: "buttons" }, cures)),
    h("p", {}, foreign(found.what_to_do)),
    h("ul", { class: "failed" }, found.tiles.map((tile) => failed(tile, found))),
    found.count > found.tiles.length ? h("p", { text: `and ${(found.count - found.tiles.length).toLocaleString("en-US")} more.` }) : "");
}

function failed(tile, found) {
  const words = h("p", { class: "detail" });
  get("report", { file: tile.file, variant: tile.variant }).then((report) => words.replaceChildren(foreign(report.detail)), () => {});
  const look = h("button", { type: "button", class: "picture", "aria-label": `Look at ${tile.name}`, onclick: () => openViewer(tile, { place: 0, total: () => 1 }) },
    h("img", { src: pictureOf(tile, "before", "thumbnail"), alt: "", loading: "lazy", onerror: (event) => event.target.replaceWith(h("span", { class: "no-picture", text: "no picture" })) }));
  const row = h("li", {}, look, h("div", {}, h("p", { class: "name" }, named(tile)), words));
  if (found.cure === "replace") {
    const file = h("input", { type: "file", hidden: true, accept: "image/*,.heic,.avif,.tif,.tiff", "aria-label": `Another file for ${tile.name}` });
    const choose = h("button", { type: "button", class: "primary", text: "Choose another photo", "aria-label": `Choose another photo for ${tile.name}` });
    choose.addEventListener("click", () => file.click());
    file.addEventListener("change", () => { if (file.files.length) doing(choose, () => replace(tile, file.files[0])); });
    row.lastElementChild.append(h("p", { class: "buttons" }, choose, file));
  }
  return row;
}

/** Send another file under the key of one that failed. */
async function replace(tile, file) {
  const { drop } = await post("drops");
  const slash = tile.file.lastIndexOf("/");
  await put("files", { drop, name: tile.file.slice(slash + 1) }, file);
  const plan = await post("plan", { drop, to: slash < 0 ? "" : tile.file.slice(0, slash), overwrite: true });
  if (plan.wrong || plan.left_out.length || !plan.images) {
    toast(plan.wrong || plan.left_out[0]?.reason || "This is not an image.", "bad");
    return;
  }
  await dialog("Use this photo instead", (ask, close) => {
    const agree = h("button", { type: "button", class: "primary big", text: priced("Use it", plan) });
    agree.addEventListener("click", () => doing(agree, async () => { await post("accept", { offer: plan.offer }); close(); toast("On its way."); }));
    const picture = h("img", { class: "chosen", alt: "", src: URL.createObjectURL(file), onerror: (event) => event.target.remove() });
    ask.append(h("p", { class: "name" }, foreign(tile.name)), picture, ...planLines(plan).map((text) => h("p", {}, foreign(text))),
      plan.problems.length ? problemList(plan.problems) : "", h("p", { class: "buttons" }, agree, h("button", { type: "button", onclick: close, text: "Do nothing" })));
    agree.focus();
  });
}

/** Say what to do with images whose instructions are missing or wrong: a folder, or only these. */
async function instruct(found) {
  const facts = await formFacts();
  const { tiles } = await get("tiles", { show: "needs-you", most: 500 });
  const these = tiles.filter((tile) => tile.code === found.code);
  const folders = [...new Set(these.map((tile) => tile.file.slice(0, tile.file.lastIndexOf("/") + 1)))];
  const given = await instructionsOf(these[0]);
  const one = folders.length === 1;
  let whole = one && found.code === "no_instructions" && these.every((tile) => !tile.variant);
  let offer;
  await dialog(found.title, (ask, close) => {
    const fields = h("div", {});
    const words = h("div", { role: "status" });
    const agree = h("button", { type: "button", class: "primary big", disabled: true, text: "…" });
    const form = new InstructionForm(facts, fields, () => price(), { compact: true, given });
    const price = debounced(async () => {
      agree.disabled = true;
      if (!form.isComplete) { words.replaceChildren("Say how the photos should look."); return; }
      try {
        offer = await post("rewrite", { images: these.map((tile) => [tile.file, tile.variant]), instructions: form.value(), folder: whole ? folders[0] : null });
        agree.textContent = priced(`${form.verb} ${counted(offer.images, "photo")}`, offer);
        agree.disabled = offer.problems.length > 0 && !offer.calls;
        words.replaceChildren(...planLines(offer).map((text) => h("p", {}, foreign(text))), offer.problems.length ? problemList(offer.problems) : "");
      } catch (error) {
        words.replaceChildren(h("p", { class: "wrong" }, foreign(error.message)));
      }
    }, 300);
    agree.addEventListener("click", () => doing(agree, async () => { await post("accept", { offer: offer.offer }); close(); toast("On their way."); }));
    const choice = (value, text) => h("label", { class: "check" }, h("input", { type: "radio", name: "scope", checked: whole === value, onchange: () => { whole = value; price(); } }), " ", foreign(text));
    ask.append(fields,
      one ? h("fieldset", { class: "scope" }, h("legend", { text: "For which photos" }), choice(false, `Only ${these.length === 1 ? "this photo" : `these ${these.length}`}`), choice(true, `Every photo in ${folders[0] || "the bucket"}, later ones too`)) : "",
      words, h("p", { class: "buttons" }, agree, h("button", { type: "button", onclick: close, text: "Do nothing" })));
    price();
  });
}

/** What an image was told, as far as the form can show it. */
async function instructionsOf(tile) {
  const facts = await get("explain", { file: tile.file, variant: tile.variant }).catch(() => ({ given: [] }));
  const known = Object.fromEntries(facts.given.map((each) => [each.key, each.value]));
  return Object.fromEntries(Object.entries(known).filter(([key]) => ["mode", "prompt", "model", "aspect_ratio"].includes(key)));
}
