// The network as sites and links. A state is shown by shape, line and word, and by colour.

import { attribute, el, keyed, link as linkAddress, svg, text } from "./dom.js";
import { HEALTH, isEve, percent } from "./format.js";
import { roundsOf } from "./store.js";

const BOX = { width: 190, height: 122 };
const LINES = { ok: "", stopped: "1 7", alarm: "10 6", down: "3 9" };

export function map() {
  const links = svg("g"), sites = svg("g");
  const drawing = svg("svg", { class: "map", role: "group", "aria-label": "The network's sites and links" }, links, sites);
  const node = el("div", { class: "map-room" }, drawing);

  function update(state) {
    const width = node.clientWidth || 800;
    const places = layout(state.sites, width);
    const height = Math.max(...Object.values(places).map((one) => one.y)) + BOX.height / 2 + 16;
    attribute(drawing, "viewBox", `0 0 ${width} ${height}`);
    attribute(drawing, "width", width);
    attribute(drawing, "height", height);
    keyed(links, state.links, (one) => one.name, makeLink, (group, one) => drawLink(group, one, places[one.alice], places[one.bob]));
    keyed(sites, state.sites, (one) => one.name, makeSite, (group, one) => drawSite(group, one, places[one.name], state.processes));
  }
  return { node, update };
}

/** Two sites face each other; more stand on an ellipse; on a narrow page one stands above the other. */
function layout(sites, width) {
  const places = {};
  if (width < 620) {
    sites.forEach((site, index) => (places[site.name] = { x: width / 2, y: 90 + index * 300 }));
  } else if (sites.length <= 2) {
    sites.forEach((site, index) => (places[site.name] = { x: index ? width - BOX.width / 2 - 14 : BOX.width / 2 + 14, y: 138 }));
  } else {
    const reach = { x: width / 2 - BOX.width / 2 - 14, y: 60 * sites.length };
    sites.forEach((site, index) => {
      const angle = (2 * Math.PI * index) / sites.length - Math.PI / 2;
      places[site.name] = { x: width / 2 + reach.x * Math.cos(angle), y: reach.y + 90 + reach.y * Math.sin(angle) };
    });
  }
  return places;
}

function makeLink(one) {
  return svg("a", { href: linkAddress(one.name), class: "fibre" },
    svg("path", { class: "halo" }), svg("path", { class: "line" }), svg("path", { class: "light" }),
    svg("g", { class: "eve" }, svg("path", { class: "tap" }), svg("circle", { r: 20 }),
      svg("path", { class: "eye", d: "M-11 0q11-11 22 0q-11 11-22 0z" }), svg("circle", { class: "pupil", r: 3.4 }), svg("text", { y: 36 }, "Eve")),
    svg("g", { class: "label" }, svg("rect", { rx: 4 }), svg("text", { class: "name", y: -7 }), svg("text", { class: "state", y: 12 })));
}

function drawLink(group, one, from, to) {
  attribute(group, "data-health", one.health);
  const upright = Math.abs(to.x - from.x) < BOX.width;
  const [dx, dy] = [Math.sign(to.x - from.x), Math.sign(to.y - from.y)];
  const a = upright ? { x: from.x, y: from.y + dy * BOX.height / 2 } : { x: from.x + dx * BOX.width / 2, y: from.y };
  const b = upright ? { x: to.x, y: to.y - dy * BOX.height / 2 } : { x: to.x - dx * BOX.width / 2, y: to.y };
  const d = `M${a.x} ${a.y}L${b.x} ${b.y}`;
  for (const path of group.querySelectorAll(".halo, .line, .light")) attribute(path, "d", d);
  attribute(group.querySelector(".line"), "stroke-dasharray", LINES[one.health]);
  const here = isEve(one.eve);
  const last = roundsOf(one.name).at(-1);
  const running = one.health !== "down" && one.health !== "stopped";
  attribute(group.querySelector(".light"), "data-on", running);
  const at = (share) => ({ x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share });
  const middle = at(0.5);
  const label = group.querySelector(".label");
  attribute(label, "transform", `translate(${middle.x} ${middle.y})`);
  text(label.querySelector(".name"), `${one.name}`);
  text(label.querySelector(".state"), `${HEALTH[one.health].shape} ${HEALTH[one.health].word} · QBER ${percent(last?.qber, 1)}`);
  const wide = 178;
  for (const [name, value] of Object.entries({ x: -wide / 2, y: -26, width: wide, height: 50 })) attribute(label.querySelector("rect"), name, value);
  const eve = group.querySelector(".eve");
  eve.toggleAttribute("hidden", !here);
  attribute(eve, "display", here ? "inline" : "none");
  const tapped = at(0.22);
  attribute(eve, "transform", upright ? `translate(${tapped.x + 64} ${tapped.y})` : `translate(${tapped.x} ${tapped.y - 62})`);
  attribute(eve.querySelector(".tap"), "d", upright ? "M-64 0L-20 0" : "M0 62L0 20");
  attribute(group, "aria-label", `Link ${one.name} from ${one.alice} to ${one.bob}: ${HEALTH[one.health].word}, QBER ${percent(last?.qber, 1)}${here ? ", Eve is there" : ""}`);
}

function makeSite() {
  return svg("g", { class: "site" }, svg("rect", { class: "box", rx: 6, width: BOX.width, height: BOX.height }),
    svg("text", { class: "name", x: 14, y: 26 }), svg("text", { class: "state", x: BOX.width - 14, y: 26, "text-anchor": "end" }), svg("g", { class: "parts" }));
}

function drawSite(group, site, place, processes) {
  attribute(group, "data-health", site.health);
  attribute(group, "transform", `translate(${place.x - BOX.width / 2} ${place.y - BOX.height / 2})`);
  text(group.querySelector(".name"), site.nickname ? `${site.name} · ${site.nickname}` : `Site ${site.name}`);
  text(group.querySelector(".state"), `${HEALTH[site.health].shape} ${HEALTH[site.health].word}`);
  const saes = site.saes.length > 2 ? [`${site.saes.length} SAEs`] : site.saes;
  const names = [...saes, site.kme, site.qkde].filter(Boolean).slice(0, 4);
  const health = Object.fromEntries(processes.map((one) => [one.name, one.health]));
  keyed(group.querySelector(".parts"), names.map((name, row) => ({ name, row })), (one) => one.name,
    () => svg("g", {}, svg("text", { class: "shape", x: 14 }), svg("text", { class: "part", x: 34 })),
    (part, one) => {
      const state = one.name in health && health[one.name] !== "ok" ? "down" : "ok";
      attribute(part, "transform", `translate(0 ${52 + one.row * 22})`);
      attribute(part, "data-health", state);
      text(part.querySelector(".shape"), HEALTH[state].shape);
      text(part.querySelector(".part"), one.name.length > 20 ? `${one.name.slice(0, 19)}…` : one.name);
    });
}
