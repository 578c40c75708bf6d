// One link: its state, plots, physics, rounds and events.

import { connections } from "./connections.js";
import { linkControls } from "./controls.js";
import { el, keyed, text } from "./dom.js";
import { feed } from "./events.js";
import { badge, showHealth } from "./health.js";
import { linkPlots } from "./link-plots.js";
import { rounds } from "./rounds.js";
import { findLink } from "./store.js";
import { bits } from "./format.js";

export function linkView(root, name) {
  const known = findLink(name);
  if (!known) {
    root.append(el("h1", {}, "No such link"), el("p", {}, `This network has no link “${name}”.`));
    return { update() {} };
  }
  const state = badge();
  const why = el("p", { class: "why" });
  const plots = known.quantum ? linkPlots(name) : null;
  const facts = el("dl", { class: "facts" });
  const controls = known.quantum ? linkControls(name) : null;
  const parts = [rounds(name), connections((one) => [one.from, one.to].every((site) => [known.alice, known.bob].includes(site)))];
  const events = feed(20, (one) => one.link === name);
  root.append(
    el("h1", {}, `Link ${name} `, state), why,
    plots ? el("section", { class: "panel strip", "aria-label": "Plots" }, plots.node) : el("p", {}, "It is fed with key files: there is no light to show."),
    el("div", { class: "columns" },
      el("div", { class: "column" },
        el("section", { class: "panel" }, el("h2", {}, "Physics, from the next round on"), facts, controls?.node,
          plots ? el("p", { class: "more" }, el("a", { href: `#/frame/${encodeURIComponent(name)}` }, "Step through one frame of this link")) : null),
        parts[1].node),
      el("div", { class: "column" }, parts[0].node, el("section", { class: "panel" }, el("h2", {}, "Events of this link"), events.node))));
  return {
    update() {
      const link = findLink(name);
      if (!link) return;
      showHealth(state, link.health, link.why);
      text(why, link.why.join("; "));
      why.hidden = !link.why.length;
      plots?.update();
      controls?.update();
      const rows = [["Alice, who prepares", `site ${link.alice}`], ["Bob, who measures", `site ${link.bob}`], ["Bits waiting in blocks", bits(link.uncut_bits)],
        ...Object.entries(link.physics).map(([key, value]) => [key.replaceAll("_", " "), typeof value === "number" ? Number(value.toPrecision(6)).toLocaleString("en") : (value ?? "–")])];
      keyed(facts, rows, ([key]) => key, ([key]) => el("div", {}, el("dt", {}, key), el("dd")), (node, [, value]) => text(node.querySelector("dd"), value));
      for (const part of [...parts, events]) part.update();
    },
    leave: () => plots?.leave(),
  };
}
