// One connection: its pool, its deliveries, the accounts of its two sites, its events.

import { account } from "./account.js";
import { gauge, showGauge } from "./connections.js";
import { el, text } from "./dom.js";
import { feed } from "./events.js";
import { count } from "./format.js";
import { plot } from "./plot.js";
import { findConnection, store } from "./store.js";

export function connectionView(root, id) {
  const known = findConnection(id);
  if (!known) {
    root.append(el("h1", {}, "No such connection"), el("p", {}, "It is not registered, or not any more."));
    return { update() {} };
  }
  const level = gauge();
  const facts = el("p", { class: "muted" });
  const plots = [
    plot({ title: "Keys in the pool", unit: "keys", curves: [{ label: "keys", colour: "secret", at: 1, show: count }],
      limit: () => ({ value: findConnection(id)?.low ?? 0, name: "low watermark: filling begins" }), top: () => 1.1 * (findConnection(id)?.high ?? 1), show: count }),
    plot({ title: "Deliveries", unit: "keys per second, mean of thirty seconds", curves: [{ label: "keys/s", colour: "sifted", at: 2, show: (value) => `${value.toFixed(1)} keys/s` }],
      top: (high) => Math.max(5, 1.15 * high), show: (value) => value.toFixed(0) }),
  ];
  const bitsOf = account((site) => [known.from, known.to].includes(site.name));
  const events = feed(25, (one) => one.connection === id);
  root.append(el("h1", {}, `${known.master} → ${known.slave}`), facts, level,
    el("section", { class: "panel", "aria-label": "Plots" }, el("div", { class: "plots" }, plots.map((one) => one.figure))),
    el("div", { class: "columns" }, bitsOf.node, el("section", { class: "panel" }, el("h2", {}, "Events of this connection"), events.node)));
  return {
    update() {
      const one = findConnection(id);
      if (!one) return;
      showGauge(level, one);
      text(facts, `Keys of ${one.key_size_bits} bits, handed out at kme-${one.from}, fetched at kme-${one.to ?? "?"}. The pool is filled from below ${count(one.low)} up to ${count(one.high)}.`);
      for (const drawn of plots) drawn.update(store.series.connections[id]);
      bitsOf.update();
      events.update();
    },
    leave: () => plots.forEach((one) => one.leave()),
  };
}
