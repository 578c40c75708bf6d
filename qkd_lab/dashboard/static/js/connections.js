// Connections: how full each pool is between its watermarks, and how fast keys are taken from it.

import { attribute, connection, el, keyed, text } from "./dom.js";
import { count } from "./format.js";
import { store } from "./store.js";

export function connections(filter = () => true) {
  const body = el("tbody");
  const node = el("section", { class: "panel" }, el("h2", {}, "Connections"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Connections" }, el("table", { class: "list" },
      el("thead", {}, el("tr", {}, ["Master → slave", "Keys in the pool", "Taken"].map((one) => el("th", { scope: "col" }, one)))), body)));
  return {
    node,
    update() {
      keyed(body, store.state.connections.filter(filter), (one) => one.id,
        (one) => el("tr", {}, el("th", { scope: "row" }, el("a", { href: connection(one.id) }, `${one.master} → ${one.slave}`)),
          el("td", {}, gauge()), el("td", { class: "number rate" })),
        (row, one) => {
          showGauge(row.querySelector(".gauge"), one);
          text(row.querySelector(".rate"), `${one.rate.toFixed(1)} keys/s`);
        });
    },
  };
}

export function gauge() {
  return el("div", { class: "gauge" }, el("span", { class: "track", "aria-hidden": "true" }, el("span", { class: "level" }), el("span", { class: "mark" })), el("span", { class: "value" }));
}

export function showGauge(node, { level, low, high }) {
  node.querySelector(".level").style.width = `${(100 * level) / high}%`;
  node.querySelector(".mark").style.left = `${(100 * low) / high}%`;
  attribute(node, "data-health", level === 0 ? "down" : level < low ? "alarm" : "ok");
  const word = level === 0 ? "empty" : level < low ? "below the low watermark" : level < high ? "above the low watermark" : "full";
  text(node.querySelector(".value"), `${count(level)} of ${count(high)}, ${word}`);
  attribute(node, "title", `filled from below ${count(low)} up to ${count(high)}`);
}
