// What an operator may do to a link: Eve, noise, distance, the kill switch.

import { el, text } from "./dom.js";
import { isEve, percent } from "./format.js";
import { act, call, operatorOnly } from "./session.js";
import { findLink } from "./store.js";

export function linkControls(name) {
  const path = `api/links/${encodeURIComponent(name)}`;
  const physics = (wanted, control) => act(control, () => call("PATCH", `${path}/physics`, wanted));
  const eve = toggle("Eve measures every pulse", "eve", (on) => physics({ eve: on ? "intercept-resend:1" : "none" }, eve.node));
  const stopped = toggle("Stop making key", "stop", (on) => act(stopped.node, () => call("PATCH", path, { stopped: on })));
  const noise = slider("Noise (depolarizing)", 0, 0.2, 0.005, (value) => percent(value, 1), (value) => physics({ depolarizing: value }, noise.node));
  const distance = slider("Fibre", 0, 100, 1, (value) => `${value} km`, (value) => physics({ distance_km: value }, distance.node));
  const node = operatorOnly(el("fieldset", { class: "controls" }, el("legend", {}, `Link ${name}`), eve.node, noise.node, distance.node, stopped.node));
  return {
    node,
    update() {
      const link = findLink(name);
      if (!link) return;
      eve.show(isEve(link.eve));
      stopped.show(link.stopped);
      noise.show(link.physics.depolarizing ?? 0);
      distance.show(link.physics.distance_km ?? 0);
    },
  };
}

let chosen = null; // also when the page was left and is shown again

/** Controls of one link; where there are several, of the one that is chosen. */
export function controlsOfOne(names) {
  const all = new Map(names.map((name) => [name, linkControls(name)]));
  const place = el("div", {});
  const choose = (name) => place.replaceChildren(all.get((chosen = name)).node);
  const links = el("select", { onchange: (event) => choose(event.target.value) }, names.map((name) => el("option", { value: name, selected: name === chosen }, name)));
  if (names.length) choose(all.has(chosen) ? chosen : names[0]);
  return {
    nodes: [names.length > 1 && el("label", { class: "choice" }, "Controls of link", links), place],
    update: () => all.forEach((one) => one.update()),
  };
}

/** A switch that shows what is, not what was asked for. */
export function toggle(label, kind, change) {
  const node = el("button", { type: "button", role: "switch", "aria-checked": "false", class: `switch ${kind}`, onclick: () => change(node.getAttribute("aria-checked") !== "true") },
    el("span", { class: "knob", "aria-hidden": "true" }), el("span", {}, label));
  return { node, show: (on) => node.getAttribute("aria-busy") || node.setAttribute("aria-checked", on) };
}

function slider(label, least, most, step, shown, change) {
  const input = el("input", { type: "range", min: least, max: most, step, "aria-label": label });
  const output = el("output", { "aria-hidden": "true" });
  let touched = false;
  input.addEventListener("input", () => ((touched = true), text(output, shown(Number(input.value)))));
  input.addEventListener("change", () => Promise.resolve(change(Number(input.value))).finally(() => setTimeout(() => (touched = false), 1500)));
  return {
    node: el("div", { class: "slider" }, el("span", { "aria-hidden": "true" }, label, output), input),
    show(value) {
      if (touched) return;
      input.value = value;
      text(output, shown(value));
      input.setAttribute("aria-valuetext", shown(value));
    },
  };
}
