// The form of instructions, made from the JSON Schema that editors use as well.

import { foreign, get, h, money } from "./dom.js";

const MODES = {
  "background-remove": ["Cut out", "Removes the background"],
  edit: ["Change", "You say how, in words"],
  "multi-edit": ["Combine", "With masks or other pictures"],
  upscale: ["Enlarge", "2 to 4 times as large"],
};
const LABELS = {
  prompt: "How should it look?",
  model: "Model",
  aspect_ratio: "Shape",
  layers: "Masks or pictures",
  resolution: "Resolution",
  quality: "Quality",
  upscale: "How many times as large",
  safe_mode: "Safe mode",
  enhance_prompt: "Let Venice improve the words",
  keep_original: "Keep the untouched answer as well",
  reference: "Your own id",
  fresh: "Always make a new one",
};
const FINISH_LABELS = { preset: "For a shop", trim: "Crop to the subject", margin: "Margin", size: "Size", upscale: "Enlarge what is too small",
  position: "Position", background: "Background", shadow: "Shadow", channels: "What to save", format: "File format",
  max_bytes: "Largest file, in bytes", dpi: "Dots per inch" };
let known;
let numbers = 0;

export const formFacts = async () => (known ??= await get("form"));

/** A form; `changed` is told of each change. `own`: there are instructions in the dropped folder. */
export class InstructionForm {
  constructor(facts, box, changed, { compact = false, given = {} } = {}) {
    this.facts = facts;
    this.properties = facts.schema.$defs.Instructions.properties;
    this.finishProperties = facts.schema.$defs.Finish.properties;
    this.box = box;
    this.compact = compact;
    this.own = false;
    this.values = { mode: given.mode || facts.defaults.mode || "background-remove", ...given };
    this.finish = typeof this.values.finish === "string" ? { preset: this.values.finish } : { ...this.values.finish };
    this.variants = Object.entries(this.values.variants || {});
    this.open = new Set();
    this.changed = () => { this.drawHelp(); changed(this); };
    this.draw();
  }

  get mode() { return this.values.mode; }
  get prompted() { return this.facts.prompted.includes(this.mode); }
  get model() {
    const { models } = this.facts;
    return models.find((each) => each.name === this.values.model) || models.find((each) => each.default);
  }
  get isComplete() { return this.mode === "" || !this.prompted || Boolean(this.values.prompt?.trim()); }
  get verb() { return this.mode === "" ? "Edit" : MODES[this.mode][0]; }

  /** The instructions, as a sidecar has them. */
  value() {
    if (this.mode === "") return {};
    const chosen = { mode: this.mode };
    for (const name of this.names()) {
      const value = this.values[name];
      if (value !== undefined && value !== null && value !== "" && value.length !== 0) chosen[name] = value;
    }
    const finish = Object.fromEntries(Object.entries(this.finish).filter(([, value]) => value !== "" && value !== null));
    if (Object.keys(finish).length) chosen.finish = finish;
    if (this.variants.length) chosen.variants = Object.fromEntries(this.variants.filter(([name]) => name));
    return chosen;
  }

  /** The names of the fields that this mode and model have. */
  names() {
    const limits = this.prompted ? this.model?.limits : null;
    const names = [];
    if (this.prompted) names.push("prompt", "model");
    if (this.mode === "multi-edit") names.push("layers");
    if (this.prompted && limits?.ratios?.length) names.push("aspect_ratio");
    if (this.prompted && limits?.resolutions?.length) names.push("resolution");
    if (this.mode === "multi-edit" && limits?.qualities?.length) names.push("quality");
    if (this.mode === "upscale") names.push("upscale");
    return [...names, ...this.more()];
  }

  more() {
    return ["enhance_prompt", "safe_mode"].filter(() => this.prompted).concat(["keep_original", "reference", "fresh"]);
  }

  draw() {
    const main = this.names().filter((name) => !this.more().includes(name));
    this.box.replaceChildren(
      this.modes(),
      ...main.map((name) => this.field(name)),
      ...(this.compact || this.mode === "" ? [] : [this.finishPart(), this.variantPart(), this.morePart()]),
    );
    this.drawHelp();
  }

  redraw() {
    const id = document.activeElement?.id;
    this.draw();
    if (id) document.getElementById(id)?.focus();
    this.changed();
  }

  modes() {
    const modes = Object.entries(MODES).map(([mode, [word, help]]) => {
      const price = this.facts.prices[mode];
      return this.card(mode, word, help, this.prompted && mode === this.mode ? null : `${money(price)} a photo`);
    });
    if (this.own) modes.unshift(this.card("", "As the folder says", "By its own instructions", null));
    return h("fieldset", { class: "modes" }, h("legend", { text: "What to do", class: "sr" }), modes);
  }

  card(mode, word, help, price) {
    const id = `mode-${mode || "own"}-${this.number()}`;
    const input = h("input", { type: "radio", name: `mode-${this.id ??= ++numbers}`, id, value: mode, checked: this.mode === mode,
      onchange: () => { this.values.mode = mode; this.redraw(); document.getElementById(id.replace(/\d+$/, ""))?.focus(); } });
    return h("label", { class: `card mode-${mode || "own"}` }, input, h("strong", { text: word }),
      h("span", { text: help }), price && h("span", { class: "price", text: price }));
  }

  number() { return this.id ??= ++numbers; }

  field(name, properties = this.properties, values = this.values, labels = LABELS) {
    const id = `${labels === LABELS ? "" : "finish-"}${name}-${this.number()}`;
    const schema = flat(properties[name], this.facts.schema.$defs);
    const help = labels === LABELS ? properties[name].description || this.facts.takes[name] : properties[name].description;
    const set = (value) => { values[name] = value; this.changed(); };
    const input = this.input(name, id, schema, values[name], set);
    input.setAttribute("aria-describedby", `${id}-help`);
    const label = h("label", { for: id, text: labels[name] || name });
    const check = input.type === "checkbox";
    return h("div", { class: check ? "field check" : "field", data: { field: name } }, check ? [input, label] : [label, input],
      h("p", { class: "help", id: `${id}-help`, text: sentence(help) }));
  }

  input(name, id, schema, value, set) {
    if (name === "model") return this.modelSelect(id, value, set);
    if (name === "prompt") {
      return h("textarea", { id, rows: 3, maxLength: schema.maxLength, value: value || "", placeholder: "For example: on a wet street at night",
        oninput: (event) => set(event.target.value) });
    }
    if (name === "layers") {
      return h("textarea", { id, rows: 2, value: (value || []).join("\n"), placeholder: "_layers/logo.png",
        oninput: (event) => set(event.target.value.split("\n").map((line) => line.trim()).filter(Boolean)) });
    }
    if (name === "upscale") {
      return h("input", { id, type: "number", min: "2", max: "4", step: "0.5", value: String(value ?? 2),
        oninput: (event) => set(Number(event.target.value) || 2) });
    }
    const options = this.options(name, schema);
    if (options) {
      return h("select", { id, onchange: (event) => { set(event.target.value || null); if (name === "preset") this.redraw(); } },
        h("option", { value: "", text: name === "preset" ? "none" : "usual" }),
        options.map((each) => h("option", { value: each, text: each, selected: value === each })));
    }
    if (schema.type === "boolean") {
      return h("input", { id, type: "checkbox", checked: Boolean(value), onchange: (event) => set(event.target.checked || null) });
    }
    const numeric = schema.type === "integer";
    return h("input", { id, type: "text", inputMode: numeric ? "numeric" : "text", value: value === undefined || value === null ? "" : String(value),
      placeholder: schema.default === undefined || schema.default === null ? "" : String(schema.default), spellcheck: false,
      oninput: (event) => set(number(event.target.value, numeric)) });
  }

  options(name, schema) {
    const limits = this.model?.limits;
    if (name === "aspect_ratio" && limits) return limits.ratios;
    if (name === "resolution" && limits) return limits.resolutions;
    if (name === "quality" && limits) return limits.qualities;
    if (name === "preset") return Object.keys(this.facts.presets);
    return schema.enum;
  }

  modelSelect(id, value, set) {
    return h("select", { id, onchange: (event) => { set(event.target.value || null); this.redraw(); } },
      h("option", { value: "", text: `usual (${this.facts.models.find((each) => each.default)?.name}, ${money(this.facts.prices.edit)})` }),
      this.facts.models.filter((each) => !each.default || value === each.name).map((each) =>
        h("option", { value: each.name, text: `${each.name}, ${money(each.usd)}`, selected: value === each.name })));
  }

  /** Help that depends on what is chosen: the model's limits, the length of the prompt. */
  drawHelp() {
    const limits = this.model?.limits;
    const prompt = document.getElementById(`prompt-${this.number()}-help`);
    if (prompt && limits) {
      const length = (this.values.prompt || "").length;
      prompt.textContent = `${length.toLocaleString("en-US")} of ${limits.prompt.toLocaleString("en-US")} characters.`;
      prompt.classList.toggle("wrong", length > limits.prompt);
    }
    const model = document.getElementById(`model-${this.number()}-help`);
    if (model) {
      const parts = [`${money(this.model.usd)} a photo`];
      if (limits) parts.push(`up to ${limits.images === 1 ? "1 picture" : `${limits.images} pictures`}`);
      if (limits?.resolutions?.length) parts.push(limits.resolutions.join(", "));
      if (limits?.qualities?.length) parts.push(`quality ${limits.qualities.join(", ")}`);
      model.textContent = `${parts.join("; ")}.`;
    }
    this.drawFinish();
  }

  part(name, word, ...children) {
    const details = h("details", { class: "part", open: this.open.has(name) }, h("summary", { text: word }), children);
    details.addEventListener("toggle", () => { details.open ? this.open.add(name) : this.open.delete(name); this.drawFinish(); });
    return details;
  }

  finishPart() {
    const names = Object.keys(this.finishProperties).filter((name) => name in FINISH_LABELS);
    const fields = names.map((name) => this.field(name, this.finishProperties, this.finish, FINISH_LABELS));
    this.drawn = undefined;
    this.preview = h("figure", { class: "preview" }, h("img", { alt: "The canvas with a sample on it", hidden: true }),
      h("figcaption", { class: "help", text: "A sample, drawn as your photos will be." }));
    return this.part("finish", "Frame and file format", this.preview, ...fields);
  }

  async drawFinish() {
    if (!this.preview?.isConnected || !this.open.has("finish")) return;
    const image = this.preview.querySelector("img");
    const words = this.preview.querySelector("figcaption");
    const finish = this.value().finish || {};
    const asked = JSON.stringify(finish);
    if (asked === this.drawn) return;
    this.drawn = asked;
    const answer = await fetch("/api/finish", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ finish }) }).catch(() => null);
    if (asked !== this.drawn || !answer) return;
    if (!answer.ok) {
      words.replaceChildren(foreign((await answer.json()).problem));
      return;
    }
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(await answer.blob());
    image.hidden = false;
    words.textContent = "A sample, drawn as your photos will be.";
  }

  variantPart() {
    const rows = this.variants.map(([name, own], place) => {
      const id = `variant-${place}-${this.number()}`;
      const what = this.prompted ? "prompt" : "preset";
      const input = this.prompted
        ? h("input", { id: `${id}-what`, type: "text", value: own.prompt || "", placeholder: "How this one differs",
            oninput: (event) => { this.variants[place][1] = event.target.value ? { prompt: event.target.value } : {}; this.changed(); } })
        : h("select", { id: `${id}-what`, onchange: (event) => { this.variants[place][1] = event.target.value ? { finish: { preset: event.target.value } } : {}; this.changed(); } },
            h("option", { value: "", text: "as above" }), Object.keys(this.facts.presets).map((each) => h("option", { value: each, text: `for ${each}`, selected: own.finish?.preset === each })));
      return h("div", { class: "variant" },
        h("label", { for: id, text: "Name" }), h("input", { id, type: "text", value: name, placeholder: "white", spellcheck: false,
          oninput: (event) => { this.variants[place][0] = event.target.value.toLowerCase().replace(/[^a-z0-9-]/g, "-"); this.changed(); } }),
        h("label", { for: `${id}-what`, text: what === "prompt" ? "How" : "Frame" }), input,
        h("button", { type: "button", class: "icon", "aria-label": "Remove this variant", text: "✕", onclick: () => { this.variants.splice(place, 1); this.redraw(); } }));
    });
    const add = h("button", { type: "button", text: "Add a variant", onclick: () => { this.variants.push([`variant-${this.variants.length + 1}`, {}]); this.redraw(); } });
    return this.part("variants", "Several results of each photo", h("p", { class: "help", text: this.properties.variants.description }), ...rows, add);
  }

  morePart() {
    return this.part("more", "More", this.more().map((name) => this.field(name)));
  }
}

/** The schema of a value, without the null that means "left out". */
function flat(schema, definitions) {
  const chosen = (schema.anyOf || [schema]).find((each) => each.type !== "null") || schema;
  const found = chosen.$ref ? definitions[chosen.$ref.split("/").pop()] : chosen;
  return { default: schema.default, ...found };
}

function number(text, numeric) {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  return (numeric || /^\d+$/.test(trimmed)) && !Number.isNaN(Number(trimmed)) ? Number(trimmed) : trimmed;
}

function sentence(text) {
  if (!text) return "";
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
