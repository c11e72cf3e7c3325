// Small live charts: a line of the last minutes, and the number that it ends with.

import { h, lasts, money, svg } from "./dom.js";

const WIDTH = 200;
const HEIGHT = 46;

const CHARTS = [
  { name: "Queue", value: (s) => s.queued, words: (s) => `${s.queued.toLocaleString("en-US")} waiting`, note: (s) => (s.seconds_left === null ? "paused" : s.queued ? left(s.seconds_left) : "nothing waits") },
  { name: "Calls in the last minute", value: (s) => s.used, limit: (s) => s.limit, words: (s) => `${s.used} of ${s.limit}`, note: () => "your rate limit at Venice" },
  { name: "Spent today", value: (s) => s.usd, limit: (s) => s.usd_limit || null, words: (s) => money(s.usd), note: (s) => (s.usd_limit ? `of ${money(s.usd_limit)}` : "no limit") },
  { name: "Balance at Venice", value: (s) => s.balance ?? 0, words: (s) => (s.balance === null ? "not known yet" : money(s.balance)), note: (s) => (s.balance === null ? "asked every five minutes" : "what is left to spend") },
];

export const left = (seconds) => (seconds >= 1 ? `about ${lasts(seconds)} left` : "less than a minute left");

export function draw(box, samples) {
  if (!samples.length) return;
  box.replaceChildren(...CHARTS.map((chart) => card(chart, samples)));
}

function card(chart, samples) {
  const last = samples.at(-1);
  const full = chart.limit?.(last) && chart.value(last) >= chart.limit(last);
  return h("figure", { class: full ? "chart full" : "chart" },
    h("figcaption", {}, h("span", { text: chart.name }), h("strong", { text: chart.words(last) }), h("span", { class: "help", text: chart.note(last) })),
    line(chart, samples));
}

function line(chart, samples) {
  const limit = chart.limit?.(samples.at(-1));
  const values = samples.map(chart.value);
  const most = Math.max(limit || 0, ...values) * 1.1 || 1;
  const x = (place) => (samples.length < 2 ? WIDTH : (place / (samples.length - 1)) * WIDTH);
  const y = (value) => HEIGHT - (value / most) * (HEIGHT - 4) - 2;
  const points = values.map((value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (limit) picture.append(svg("line", { class: "limit", x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit) }));
  picture.append(svg("polygon", { points: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}` }), svg("polyline", { points: points.join(" ") }));
  return picture;
}
