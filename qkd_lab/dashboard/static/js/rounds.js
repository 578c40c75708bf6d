// The newest rounds, and one of them as a funnel from pulses to secret bits.

import { attribute, el, keyed, text } from "./dom.js";
import { count, isEve, percent, time } from "./format.js";
import { store } from "./store.js";

const STAGES = [
  ["pulses", "Pulses sent", (one) => one.pulses],
  ["detected", "Clicks", (one) => one.detected_pulses],
  ["sifted", "Same basis: sifted", (one) => one.sifted_bits],
  ["kept", "Not told in public", (one) => Math.max(0, (one.sifted_bits ?? 0) - (one.disclosed_bits ?? 0))],
  ["secret", "Secret bits", (one) => one.secret_bits],
];
const SHOWN = 8;

/** `link`: of this link alone. */
export function rounds(link) {
  let chosen = null; // the newest one
  const title = el("p", { class: "chosen" });
  const funnel = el("ol", { class: "funnel" });
  const body = el("tbody");
  const node = el("section", { class: "panel" }, el("h2", {}, "Rounds, from pulses to secret bits"), title, funnel,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The newest rounds" }, el("table", { class: "list" },
      el("thead", {}, el("tr", {}, ["Began", "Link", "Outcome", "QBER", "Secret bits", "Eve (ground truth)"].map((one) => el("th", { scope: "col" }, one)))), body)));

  function update() {
    const found = store.rounds.filter((one) => !link || one.link === link);
    const shown = found.slice(-SHOWN).reverse();
    const one = found.find((round) => round.id === chosen) ?? found.at(-1);
    if (one) drawFunnel(one);
    else text(title, "No round yet: pools are filled from what there is, and ask for a round when they need one.");
    keyed(body, shown, (round) => round.id, makeRow, (row, round) => {
      const button = row.querySelector("button");
      attribute(button, "aria-pressed", round === one);
      text(button, time(round.began_at));
    });
  }

  function makeRow(round) {
    const key = round.outcome === "key";
    return el("tr", { "data-outcome": round.outcome },
      el("td", {}, el("button", { type: "button", class: "quiet", onclick: () => ((chosen = round.id), update()) })),
      el("td", {}, round.link), el("td", {}, key ? "● key" : "▲ aborted"), el("td", { class: "number" }, percent(round.qber)),
      el("td", { class: "number" }, count(round.secret_bits)),
      el("td", { class: isEve(round.eve) ? "eve-text" : "" }, round.eve === null ? "not known any more" : isEve(round.eve) ? round.eve : "not there"));
  }

  function drawFunnel(round) {
    text(title, `Link ${round.link}, ${time(round.began_at)}: ${round.outcome === "key" ? `QBER ${percent(round.qber)}` : round.abort_reason}`);
    attribute(title, "data-outcome", round.outcome);
    let before = null;
    const rows = STAGES.map(([name, label, of]) => {
      const value = of(round) ?? 0;
      const row = { name, label, value, share: value / (round.pulses || 1), left: before ? value / before : null };
      before = value;
      return row;
    });
    keyed(funnel, rows, (row) => row.name,
      (row) => el("li", { class: `stage ${row.name}` }, el("span", { class: "what" }, row.label), el("span", { class: "bar" }, el("span")), el("span", { class: "value" }), el("span", { class: "left muted" })),
      (item, row) => {
        item.querySelector(".bar > span").style.width = `${(100 * row.share).toFixed(2)}%`;
        text(item.querySelector(".value"), count(row.value));
        text(item.querySelector(".left"), row.left === null ? "" : percent(row.left, row.left < 0.01 ? 2 : 0));
      });
  }
  return { node, update };
}
