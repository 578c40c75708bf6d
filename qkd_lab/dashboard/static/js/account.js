// The account of bits of each site: what came in, and where each bit is now.

import { attribute, el, keyed, text } from "./dom.js";
import { count, bits } from "./format.js";
import { store } from "./store.js";

const ENTRIES = [
  ["stored", "in pools and waiting for slaves"], ["remainder", "in blocks, not cut yet"], ["reserved", "on their way"],
  ["delivered", "delivered to SAEs"], ["burned", "burned"], ["destroyed", "destroyed"], ["expired", "expired"],
];

export function account(filter = () => true) {
  const body = el("div", { class: "accounts" });
  const node = el("section", { class: "panel" }, el("h2", {}, "Account of bits"), body);
  return {
    node,
    update() {
      keyed(body, store.state.sites.filter((one) => filter(one) && "received_bits" in one.account), (one) => one.name, make, draw);
    },
  };
}

function make() {
  return el("div", { class: "account" }, el("h3"), el("div", { class: "stack", "aria-hidden": "true" }, ENTRIES.map(([name]) => el("span", { class: name }))),
    el("dl", {}, ENTRIES.map(([name, label]) => el("div", { class: name }, el("dt", {}, label), el("dd")))), el("p", { class: "sum" }));
}

function draw(node, site) {
  const of = (name) => site.account[`${name}_bits`] ?? 0;
  const all = of("received") + of("copied");
  text(node.querySelector("h3"), `${site.kme}: ${bits(all)} came in`);
  for (const [name] of ENTRIES) {
    node.querySelector(`.stack .${name}`).style.flexGrow = of(name);
    text(node.querySelector(`dl .${name} dd`), count(of(name)));
  }
  const sum = node.querySelector(".sum");
  attribute(sum, "data-health", site.account.balanced ? "ok" : "down");
  text(sum, site.account.balanced ? "● every bit is accounted for" : "✕ the account does not add up");
}
