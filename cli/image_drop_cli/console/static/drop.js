// Drop: take files, copy them to the console, say what they will cost, and send them.

import { $, Problem, counted, debounced, doing, foreign, h, money, post, put, toast } from "./dom.js";
import { on, say } from "./bus.js";
import { InstructionForm, formFacts } from "./form.js";
import { planLines, priced, problemList } from "./offer.js";

const AT_ONCE = 3; // files that are copied at a time
const PREVIEWS = 60;
const INSTRUCTIONS = /(^|\/)\.image-drop\.json$/;
const SHOWN = /^image\/(jpeg|png|webp|gif|avif|bmp)$/;

const drop = { id: "", files: new Map(), waiting: [], copying: 0, failed: [], to: "", overwrite: false, sampled: false };
let form;
let facts;
let planned; // the newest plan
let planning = 0;

let ready; // the form is there; files may be dropped before

export async function start() {
  ready = formFacts().then((known) => {
    facts = known;
    form = new InstructionForm(facts, $("fields"), () => replan());
  });
  listenForFiles();
  $("clear").addEventListener("click", () => clear());
  $("send").addEventListener("click", () => send(planned, $("send")));
  $("try-three").addEventListener("click", () => doing($("try-three"), tryThree));
  $("instructions").addEventListener("submit", (event) => event.preventDefault());
  on("drop", (progress) => { if (progress.drop === drop.id && progress.ended) ended(progress); });
  await ready;
}

function listenForFiles() {
  const zone = document.body;
  let depth = 0;
  zone.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; document.body.classList.add("dragging"); });
  zone.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) document.body.classList.remove("dragging"); });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dragging");
    take(entriesOf(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length) take(Promise.resolve(files.map((file) => [pastedName(file), file])));
  });
  $("choose-files").addEventListener("click", () => $("files").click());
  $("choose-folder").addEventListener("click", () => $("folder").click());
  for (const id of ["files", "folder"]) {
    $(id).addEventListener("change", (event) => {
      const files = [...event.target.files].map((file) => [file.webkitRelativePath || file.name, file]);
      event.target.value = "";
      take(Promise.resolve(files));
    });
  }
}

let pasted = 0;
function pastedName(file) {
  return /^image\.\w+$/.test(file.name) ? `pasted-${(pasted += 1)}.${file.name.split(".").pop()}` : file.name;
}

/** The files that were dropped, those in folders too, with their names. */
async function entriesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => [file.name, file]);
  const found = [];
  const walk = async (entry, prefix) => {
    if (entry.isFile) {
      found.push([prefix + entry.name, await new Promise((resolve, reject) => entry.file(resolve, reject))]);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const each of some) await walk(each, `${prefix}${entry.name}/`);
    }
  };
  for (const entry of entries) await walk(entry, "");
  return found;
}

async function take(coming) {
  say("go", "drop");
  let files;
  try {
    files = await coming;
    await ready;
    if (!files.length) return;
    if (!drop.id) {
      drop.id = (await post("drops")).drop;
      drop.to = "";
    }
  } catch (error) {
    toast(error.message, "bad");
    return;
  }
  for (const [name, file] of files) {
    const free = freeName(name);
    const entry = { name: free, file, state: "waiting" };
    drop.files.set(free, entry);
    drop.waiting.push(entry);
  }
  form.own = [...drop.files.keys()].some((name) => INSTRUCTIONS.test(name));
  if (form.own && form.mode && !drop.asked) {
    form.values.mode = "";
    drop.asked = true;
  }
  form.draw();
  if (!drop.to && [...drop.files.keys()].some((name) => !name.includes("/"))) drop.to = dated();
  draw();
  copy();
}

function freeName(name) {
  if (!drop.files.has(name)) return name;
  const dot = name.lastIndexOf(".");
  const [stem, suffix] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  for (let number = 2; ; number += 1) {
    const free = `${stem} (${number})${suffix}`;
    if (!drop.files.has(free)) return free;
  }
}

/** Photos of different days often have the same names, so each drop has a folder of its own. */
function dated() {
  const now = new Date();
  const two = (value) => String(value).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())} ${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`;
}

function copy() {
  while (drop.copying < AT_ONCE && drop.waiting.length) {
    const entry = drop.waiting.shift();
    drop.copying += 1;
    copyOne(entry, drop.id).finally(() => {
      drop.copying -= 1;
      drawProgress();
      copy();
      if (!drop.copying && !drop.waiting.length) replan();
    });
  }
}

async function copyOne(entry, id) {
  try {
    await put("files", { drop: id, name: entry.name }, entry.file);
    entry.state = "here";
  } catch (error) {
    entry.state = "failed";
    entry.reason = error.message;
    drop.failed.push(entry);
  }
}

function draw() {
  const files = [...drop.files.values()];
  const shown = files.filter((each) => !INSTRUCTIONS.test(each.name));
  $("chosen").hidden = !files.length;
  $("plan-bar").hidden = !files.length;
  $("zone").classList.toggle("small", Boolean(files.length));
  $("chosen-heading").textContent = counted(shown.length, "file");
  for (const url of $("previews").querySelectorAll("img")) URL.revokeObjectURL(url.src);
  const items = shown.slice(0, PREVIEWS).map((each) =>
    h("li", {},
      SHOWN.test(each.file.type)
        ? h("img", { src: URL.createObjectURL(each.file), alt: "", loading: "lazy" })
        : h("span", { class: "no-picture", text: each.name.split(".").pop().slice(0, 5) }),
      foreign(each.name.split("/").pop(), { class: "name" }),
      h("button", { type: "button", class: "icon", "aria-label": `Leave out ${each.name}`, text: "✕", onclick: () => leaveOut(each) })),
  );
  if (shown.length > PREVIEWS) items.push(h("li", { class: "more", text: `and ${(shown.length - PREVIEWS).toLocaleString("en-US")} more` }));
  $("previews").replaceChildren(...items);
  drawProgress();
}

function drawProgress() {
  const files = [...drop.files.values()];
  const here = files.filter((each) => each.state !== "waiting").length;
  const bar = $("copying");
  bar.hidden = here === files.length;
  bar.max = files.length || 1;
  bar.value = here;
  if (here < files.length) showPlan(h("p", { text: `Getting ${here.toLocaleString("en-US")} of ${counted(files.length, "file")} ready…` }));
}

async function leaveOut(entry) {
  drop.files.delete(entry.name);
  drop.waiting = drop.waiting.filter((each) => each !== entry);
  drop.failed = drop.failed.filter((each) => each !== entry);
  draw();
  if (!drop.files.size) return clear();
  await post("files/remove", { drop: drop.id, names: [entry.name] }).catch(() => {});
  replan();
}

function clear() {
  if (drop.id) post("files/remove", { drop: drop.id }).catch(() => {});
  Object.assign(drop, { id: "", files: new Map(), waiting: [], failed: [], to: "", overwrite: false, sampled: false, asked: false });
  planned = undefined;
  form.own = false;
  if (!form.mode) form.values.mode = "background-remove";
  form.draw();
  draw();
}

function wanted(more = {}) {
  return { drop: drop.id, instructions: form.value(), to: drop.to, overwrite: drop.overwrite, ...more };
}

const replan = debounced(async () => {
  if (!drop.id || !drop.files.size || drop.copying || drop.waiting.length) return;
  const turn = (planning += 1);
  planned = undefined;
  buttons();
  if (!form.isComplete) {
    showPlan(h("p", { text: "Say how the photos should look." }));
    return;
  }
  try {
    const found = await post("plan", wanted());
    if (turn !== planning) return;
    planned = found.wrong ? undefined : found;
    drawPlan(found);
  } catch (error) {
    if (turn === planning) showPlan(h("p", { class: "wrong" }, foreign(error.message)));
    if (error.status === 404) drop.id = "";
  }
  buttons();
}, 350);

function showPlan(...parts) {
  $("plan").replaceChildren(...parts);
}

function drawPlan(plan) {
  if (plan.wrong) {
    showPlan(h("p", { class: "wrong" }, foreign(plan.wrong)));
    return;
  }
  const troubled = plan.problems.reduce((sum, each) => sum + each.images, 0);
  const failed = drop.failed.map((each) => ({ key: each.name, reason: each.reason }));
  const left = [...plan.left_out, ...failed];
  showPlan(
    h("p", { class: "price" }, h("strong", { text: counted(plan.images, "photo") }), plan.calls ? `, ${money(plan.usd)}` : ", nothing to pay",
      plan.lasts ? `, at least ${plan.lasts}` : ""),
    ...planLines({ ...plan, lasts: "" }).map((text) => h("p", {}, foreign(text))),
    troubled ? h("details", { class: "wrong" }, h("summary", { text: `${counted(troubled, "photo")} cannot be edited like this` }), problemList(plan.problems)) : "",
    left.length ? h("details", {}, h("summary", { text: `${counted(left.length, "file")} will be left out` }),
      h("ul", { class: "problems" }, left.map((each) => h("li", {}, foreign(`${each.key}: ${each.reason}`))))) : "",
    h("details", { class: "place" }, h("summary", { text: drop.to ? "Goes to the folder " : "Goes to the bucket itself", }, drop.to ? foreign(drop.to) : ""),
      h("label", {}, "Folder in the bucket ", h("input", { type: "text", value: drop.to, spellcheck: false, onchange: (event) => { drop.to = event.target.value.trim().replace(/^\/+|\/+$/g, ""); replan(); } })),
      h("label", { class: "check" }, h("input", { type: "checkbox", checked: drop.overwrite, onchange: (event) => { drop.overwrite = event.target.checked; replan(); } }), " Replace other files that have the same names there")),
  );
}

function buttons() {
  const send = $("send");
  const three = $("try-three");
  const able = Boolean(planned && planned.images);
  send.disabled = !able;
  send.textContent = able ? priced(`${form.verb} ${drop.sampled ? "all " : ""}${counted(planned.images, "photo")}`, planned) : "Send";
  three.hidden = !(able && planned.images > facts.sample && planned.calls > facts.sample);
  if (!three.hidden) three.textContent = `Try ${facts.sample} first · ${planned.enlargements ? "at most " : ""}${money((planned.at_most / planned.images) * facts.sample)}`;
}

async function send(plan, button) {
  if (!plan) return;
  if (plan.ask && button.dataset.sure !== plan.offer) {
    button.dataset.sure = plan.offer;
    button.textContent = `Really spend ${money(plan.at_most)}?`;
    return;
  }
  await doing(button, async () => {
    planned = undefined;
    buttons();
    try {
      await post("accept", { offer: plan.offer });
    } catch (error) {
      replan();
      throw error;
    }
    say("sent", { drop: drop.id, images: plan.images, sample: false });
    say("go", "look");
  });
}

async function tryThree() {
  const plan = await post("plan", wanted({ sample: true }));
  if (plan.wrong) throw new Problem(plan.wrong, 400);
  await post("accept", { offer: plan.offer });
  say("sent", { drop: drop.id, images: plan.images, sample: true, of: planned?.images ?? plan.images });
  drop.sampled = true;
  say("go", "look");
}

function ended(progress) {
  if (progress.sent < progress.of || progress.not_sent_count || drop.sampled !== false && progress.of <= facts.sample) {
    replan();
    return;
  }
  clear();
}
