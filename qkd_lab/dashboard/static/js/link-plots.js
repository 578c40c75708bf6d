// A link's three plots: QBER against the abort threshold, bits per second, disclosed share. Eve is in all of them.

import { el } from "./dom.js";
import { bits, percent } from "./format.js";
import { plot } from "./plot.js";
import { findLink, store } from "./store.js";

const EVE = 5; // in a sample: time, QBER, disclosed share, sifted and secret bits/s, Eve

export function linkPlots(name) {
  const threshold = () => findLink(name)?.threshold;
  const plots = [
    plot({
      title: "QBER", unit: "share of sifted bits that differ", eveAt: EVE,
      curves: [{ label: "QBER", colour: "qber", at: 1, points: true, show: (value) => percent(value) }],
      limit: () => threshold() && { value: threshold(), name: `abort above ${percent(threshold(), 1)}` },
      top: (high) => Math.max(1.6 * (threshold() ?? 0.04), 1.15 * high), show: (value) => percent(value, 0),
    }),
    plot({
      title: "Key rate", unit: "bits per second, mean of thirty seconds", eveAt: EVE,
      curves: [
        { label: "sifted", colour: "sifted", at: 3, dash: [5, 3], show: (value) => bits(value, "bit/s") },
        { label: "secret", colour: "secret", at: 4, show: (value) => bits(value, "bit/s") },
      ],
      top: (high) => Math.max(1000, 1.15 * high), show: (value) => bits(value, ""),
    }),
    plot({
      title: "Disclosed", unit: "share of the sifted bits told in public", eveAt: EVE,
      curves: [{ label: "disclosed", colour: "disclosed", at: 2, points: true, show: (value) => percent(value, 1) }],
      top: (high) => Math.max(0.2, 1.15 * high), show: (value) => percent(value, 0),
    }),
  ];
  return {
    node: el("div", { class: "plots" }, plots.map((one) => one.figure)),
    update: () => plots.forEach((one) => one.update(store.series.links[name])),
    leave: () => plots.forEach((one) => one.leave()),
  };
}
