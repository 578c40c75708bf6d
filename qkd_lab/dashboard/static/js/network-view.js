// The first page: all of the network at a glance.

import { account } from "./account.js";
import { connections } from "./connections.js";
import { controlsOfOne, toggle } from "./controls.js";
import { el, keyed, link as linkAddress } from "./dom.js";
import { feed } from "./events.js";
import { badge, showHealth } from "./health.js";
import { linkPlots } from "./link-plots.js";
import { map } from "./map.js";
import { readout } from "./readout.js";
import { rounds } from "./rounds.js";
import { act, call, operatorOnly } from "./session.js";
import { store } from "./store.js";

export function networkView(root) {
  const drawing = map();
  const figures = readout();
  const strips = el("div", { class: "strips" });
  const parts = [rounds(), connections(), account()];
  const newest = feed(14);
  const controls = controlsOfOne(store.state.links.filter((one) => one.quantum).map((one) => one.name));
  const usage = traffic();
  root.append(
    el("h1", { class: "hidden" }, "Network"),
    el("div", { class: "bench" }, el("section", { class: "panel picture", "aria-label": "Map" }, drawing.node, figures.node), el("div", { class: "side" }, controls.nodes, usage.node)),
    strips,
    el("div", { class: "columns" },
      el("div", { class: "column" }, parts[0].node, parts[2].node),
      el("div", { class: "column" }, parts[1].node,
        el("section", { class: "panel" }, el("h2", {}, "Events"), newest.node, el("p", { class: "more" }, el("a", { href: "#/events" }, "All events, with filters"))))),
  );
  return {
    update() {
      drawing.update(store.state);
      keyed(strips, store.state.links.filter((one) => one.quantum), (one) => one.name, strip, (node, one) => {
        showHealth(node.querySelector(".badge"), one.health, one.why);
        node.plots.update();
      });
      for (const part of [figures, ...parts, newest, usage, controls]) part.update();
    },
    leave() {
      for (const node of strips.children) node.plots.leave();
    },
  };
}

function strip(one) {
  const plots = linkPlots(one.name);
  const node = el("section", { class: "panel strip", "aria-label": `Link ${one.name}` },
    el("h2", {}, el("a", { href: linkAddress(one.name) }, `Link ${one.name}`), " ", badge()), plots.node);
  node.plots = plots;
  return node;
}

/** Messages between the demo SAEs: without anybody who takes keys, pools are full and links have nothing to do. */
function traffic() {
  const control = toggle("Demo SAEs send messages all the time", "traffic", (on) => act(control.node, () => call("PUT", "api/traffic", { on })));
  const node = operatorOnly(el("fieldset", { class: "controls" }, el("legend", {}, "Use of keys"), control.node));
  return { node, update: () => control.show(store.state.traffic) };
}
