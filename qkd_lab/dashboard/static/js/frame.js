// One frame, pulse by pulse. It was made for looking at: see qkde/link/sacrifice.py.

import { attribute, el, text } from "./dom.js";
import { act, call, operatorOnly } from "./session.js";
import { store } from "./store.js";

const ARROWS = { Z: ["↑", "→"], X: ["↗", "↘"] };
const ROWS = [
  ["Alice's bit", (frame, at) => frame.bits[at]],
  ["Alice's basis", (frame, at) => frame.alice_bases[at]],
  ["Polarisation", (frame, at) => ARROWS[frame.alice_bases[at]][frame.bits[at]]],
  ["Eve's basis", (frame, at) => frame.eve_bases[at], "eve-text"],
  ["Eve found", (frame, at) => frame.eve_results[at], "eve-text"],
  ["Bob's basis", (frame, at) => frame.bob_bases[at]],
  ["Click", (frame, at) => (frame.clicks[at] === "1" ? "✓" : "·")],
  ["Bob's bit", (frame, at) => frame.outcomes[at]],
  ["Sifted", (frame, at) => (frame.sifted[at] === "0" ? "·" : wrong(frame, at) ? "≠" : "=")],
];
const wrong = (frame, at) => frame.sifted[at] === "1" && frame.bits[at] !== frame.outcomes[at];

export function frameView(root, wanted) {
  const quantum = store.state.links.filter((one) => one.quantum).map((one) => one.name);
  const links = el("select", { name: "link" }, quantum.map((name) => el("option", { value: name, selected: name === wanted }, name)));
  const room = el("div");
  const form = el("form", { onsubmit: make }, operatorOnly(el("fieldset", { class: "controls row" }, el("legend", {}, "A frame to look at"),
    el("label", {}, "Link", links), el("button", {}, "Make one"))));
  async function make(event) {
    event.preventDefault();
    const frame = await act(form, () => call("POST", `api/links/${encodeURIComponent(links.value)}/frame`));
    if (frame) room.replaceChildren(table(frame));
  }
  root.append(el("h1", {}, "One BB84 frame"),
    el("p", { class: "simulator" }, el("strong", {}, "Simulator-only knowledge. "),
      "No apparatus could show bits, bases and clicks side by side: whoever saw them would have the key. The link makes this frame by itself, under its present physics, to be shown. Neither Alice nor Bob ever hears of it, and no key comes from it."),
    form, room);
  return { update() {} };
}

function table(frame) {
  let at = 0;
  const said = el("p", { class: "pulse", "aria-live": "polite" });
  const body = el("tbody", {}, ROWS.map(([label, of, style]) => el("tr", { class: style }, el("th", { scope: "row" }, label),
    Array.from({ length: frame.pulses }, (_, pulse) => el("td", { class: frame.sifted[pulse] === "1" ? (wrong(frame, pulse) ? "sifted wrong" : "sifted") : "" }, of(frame, pulse))))));
  const slider = el("input", { type: "range", min: 1, max: frame.pulses, value: 1, "aria-label": "Pulse", oninput: () => go(slider.value - 1) });
  const head = el("tr", {}, el("th", { scope: "col" }, "Pulse"), Array.from({ length: frame.pulses }, (_, pulse) => el("th", { scope: "col" }, pulse + 1)));
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The frame's pulses" }, el("table", { class: "frame" }, el("thead", {}, head), body));

  function go(pulse) {
    at = Math.max(0, Math.min(frame.pulses - 1, pulse));
    slider.value = at + 1;
    for (const row of [head, ...body.rows]) for (const cell of row.cells) cell.toggleAttribute("data-here", cell.cellIndex === at + 1);
    const cell = head.cells[at + 1];
    scroll.scrollLeft = Math.max(0, cell.offsetLeft - scroll.clientWidth / 2);
    text(said, inWords(frame, at));
  }
  const sifted = [...frame.sifted].filter((one) => one === "1").length;
  const errors = Array.from({ length: frame.pulses }, (_, pulse) => wrong(frame, pulse)).filter(Boolean).length;
  const node = el("section", { class: "panel" },
    el("p", {}, `The first ${frame.pulses} pulses: ${[...frame.clicks].filter((one) => one === "1").length} clicked, ${sifted} are sifted, ${errors} of those differ.`),
    el("div", { class: "steps" }, el("button", { type: "button", onclick: () => go(at - 1) }, "Back"), slider, el("button", { type: "button", onclick: () => go(at + 1) }, "Next")), said, scroll,
    el("p", { class: "muted" }, `Z is rectilinear (↑ 0, → 1), X is diagonal (↗ 0, ↘ 1). Key comes from ${frame.key_basis}; the other basis is the test. = sifted and alike, ≠ sifted and wrong.`));
  attribute(scroll, "data-eve", /[ZXB]/.test(frame.eve_bases));
  queueMicrotask(() => go(0));
  return node;
}

function inWords(frame, at) {
  const [bit, basis] = [frame.bits[at], frame.alice_bases[at]];
  const parts = [`Pulse ${at + 1}: Alice sends ${bit} in ${basis}, ${ARROWS[basis][bit]}.`];
  if (frame.eve_bases[at] !== "·") parts.push(`Eve measures in ${frame.eve_bases[at]}, finds ${frame.eve_results[at]} and sends that on.`);
  if (frame.clicks[at] !== "1") return `${parts.join(" ")} Nothing clicks at Bob: the photon was lost.`;
  parts.push(`Bob measures in ${frame.bob_bases[at]} and gets ${frame.outcomes[at]}.`);
  if (frame.sifted[at] !== "1") parts.push("The bases differ, so both forget it.");
  else parts.push(wrong(frame, at) ? "Same basis, another bit: an error that the ends will count." : "Same basis, same bit: sifted.");
  return parts.join(" ");
}
