// The network's few most telling figures, as an instrument shows them.

import { el, text } from "./dom.js";
import { bits, count, percent } from "./format.js";
import { store } from "./store.js";

const sum = (values) => values.reduce((all, one) => all + one, 0);
const newest = (index) => sum(Object.values(store.series.links).map((samples) => samples.at(-1)?.[index] ?? 0));

const FIGURES = [
  ["QBER of the newest round", () => percent(store.rounds.at(-1)?.qber)],
  ["Secret bits made", () => bits(newest(4), "bit/s")],
  ["Keys in all pools", () => count(sum(store.state.connections.map((one) => one.level)))],
  ["Keys taken", () => `${sum(store.state.connections.map((one) => one.rate)).toFixed(1)} /s`],
];

export function readout() {
  const values = FIGURES.map(() => el("dd"));
  const node = el("dl", { class: "readout" }, FIGURES.map(([label], index) => el("div", {}, el("dt", {}, label), values[index])));
  return { node, update: () => FIGURES.forEach(([, value], index) => text(values[index], value())) };
}
