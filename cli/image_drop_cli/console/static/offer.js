// Count and cost first: a dialog with what something will do, and a button that bears the price.

import { $, counted, doing, foreign, h, money, post, toast } from "./dom.js";

/** The lines that tell a plan, besides its price. */
export function planLines(plan) {
  const lines = [];
  if (plan.done) lines.push(`${counted(plan.done, "result")} there already, not paid again.`);
  if (plan.replaced) lines.push(`${counted(plan.replaced, "result")} there will change.`);
  if (plan.free) lines.push(`${counted(plan.free, "new finish", "new finishes")} for free.`);
  if (plan.enlargements)
    lines.push(`Up to ${counted(plan.enlargements, "photo")} may be enlarged besides, for at most ${money(plan.enlarging_usd)} more.`);
  if (plan.sampled) lines.push(`Projected from ${plan.sampled.toLocaleString("en-US")} of them.`);
  if (plan.lasts) lines.push(`At least ${plan.lasts} at your rate limit.`);
  if (plan.left_today !== null && plan.at_most > plan.left_today)
    lines.push(`Only ${money(plan.left_today)} of today's limit is left; the rest waits until midnight UTC.`);
  if (plan.balance !== null && plan.at_most > plan.balance)
    lines.push(`Only ${money(plan.balance)} is left at Venice; processing pauses then.`);
  if (plan.paused) lines.push(`Processing is paused. ${plan.paused}`);
  return lines;
}

/** What is wrong already with some of the images. */
export function problemList(problems) {
  return h(
    "ul",
    { class: "problems" },
    problems.slice(0, 5).map((each) =>
      h("li", {}, h("strong", { text: `${counted(each.images, "photo")}: ` }), foreign(`${each.detail} ${each.what_to_do}`)),
    ),
    problems.length > 5 && h("li", { text: `${counted(problems.length - 5, "other problem")}.` }),
  );
}

/** Show a dialog; `fill` gets it and a function that closes it. Resolves when it is closed. */
export function dialog(heading, fill) {
  const ask = $("ask");
  const close = () => ask.close();
  ask.replaceChildren(
    h("div", { class: "line" }, h("h2", { id: "ask-heading" }, heading),
      h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: close, text: "✕" })),
  );
  fill(ask, close);
  if (!ask.open) ask.showModal();
  return new Promise((resolve) => ask.addEventListener("close", resolve, { once: true }));
}

/** Ask for a price and show it; the button carries it out. Resolves to whether it was. */
export async function propose(heading, path, body, verb, told) {
  const plan = await post(path, body);
  let accepted = false;
  await dialog(heading, (ask, close) => {
    const agree = h("button", { type: "button", class: "primary big", text: priced(verb, plan) });
    agree.addEventListener("click", () =>
      doing(agree, async () => {
        await post("accept", { offer: plan.offer });
        accepted = true;
        close();
        if (told) toast(told);
      }),
    );
    ask.append(
      h("p", { class: "price" }, `${counted(plan.images, "photo")}, ${counted(plan.calls, "call")}, ${money(plan.usd)}.`),
      ...planLines(plan).map((text) => h("p", { text })),
      plan.problems.length ? problemList(plan.problems) : "",
      h("p", { class: "buttons" }, agree, h("button", { type: "button", onclick: close, text: "Do nothing" })),
    );
    agree.focus();
  });
  return accepted;
}

export function priced(verb, plan) {
  if (!plan.at_most) return `${verb} · free`;
  return `${verb} · ${plan.enlargements ? "at most " : ""}${money(plan.at_most)}`;
}
