// Plots of the last minutes, each with its newest values as a table.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { el, text } from "./dom.js";

export const WINDOW_S = 300;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");

/**
 * curves: [{label, colour, at: index in a sample, show(value), points?}]; eveAt: index of Eve's presence, if the plot
 * has it; limit(): a level to draw across, with its name; top(values): the upper end of the scale.
 */
export function plot({ title, unit, curves, eveAt, limit, top, show }) {
  const canvas = el("div", { class: "canvas", role: "img" });
  const now = el("span", { class: "now" });
  const body = el("tbody");
  const figure = el("figure", { class: "plot" },
    el("figcaption", {}, el("span", { class: "title" }, title), now),
    canvas,
    el("details", {}, el("summary", {}, "Values", el("span", { class: "hidden" }, ` of ${title}`)),
      el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Time"), curves.map((one) => el("th", { scope: "col" }, one.label)),
        eveAt === undefined ? null : el("th", { scope: "col" }, "Eve (ground truth)"))), body)));
  let chart = null;
  let samples = [];

  function make() {
    chart?.destroy();
    const axis = { stroke: colour("muted"), grid: { stroke: colour("hair"), width: 1 }, ticks: { show: false }, font: "11px ui-sans-serif, system-ui, sans-serif" };
    chart = new uPlot({
      width: Math.max(200, canvas.clientWidth), height: 150, legend: { show: false }, cursor: { show: false }, padding: [10, 8, 0, 0],
      scales: { x: { time: true, range: () => [newest() - WINDOW_S, newest()] }, y: { range: (_, low, high) => [0, top(high ?? 0)] } },
      axes: [{ ...axis, space: 46, size: 26, values: (_, ticks) => ticks.map((one) => new Date(one * 1000).toTimeString().slice(0, 5)) },
        { ...axis, size: 54, space: 32, values: (_, ticks) => ticks.map(show) }],
      series: [{}, ...curves.map((one) => ({ label: one.label, stroke: colour(one.colour), width: 1.6, spanGaps: true, dash: one.dash,
        points: { show: !!one.points, size: 6, fill: colour(one.colour) } }))],
      hooks: { drawClear: [eve], draw: [level] },
    }, data(), canvas);
  }

  const newest = () => samples.at(-1)?.[0] ?? Date.now() / 1000;
  function data() {
    const from = newest() - WINDOW_S - 20;
    const shown = samples.filter((one) => one[0] >= from);
    return [shown.map((one) => one[0]), ...curves.map((curve) => shown.map((one) => one[curve.at]))];
  }

  // When Eve was there: a band with a hatched foot, so that it shows without its colour too.
  function eve(u) {
    if (eveAt === undefined) return;
    const { left, top: y, width, height } = u.bbox;
    const { ctx } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, y, width, height);
    ctx.clip();
    for (const [from, to] of visits()) {
      const x0 = u.valToPos(from, "x", true), x1 = Math.max(x0 + 2, u.valToPos(to, "x", true));
      ctx.fillStyle = colour("eve-wash");
      ctx.fillRect(x0, y, x1 - x0, height);
      ctx.fillStyle = colour("eve");
      ctx.fillRect(x0, y + height - 5 * devicePixelRatio, x1 - x0, 5 * devicePixelRatio);
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      if (x1 - x0 > 30 * devicePixelRatio) ctx.fillText("Eve", Math.max(x0, left) + 5 * devicePixelRatio, y + height - 10 * devicePixelRatio);
    }
    ctx.restore();
  }

  function visits() {
    const found = [];
    let since = null;
    for (const sample of samples) {
      if (sample[eveAt] && since === null) since = sample[0];
      if (!sample[eveAt] && since !== null) (found.push([since, sample[0]]), (since = null));
    }
    if (since !== null) found.push([since, newest()]);
    return found;
  }

  function level(u) {
    const at = limit?.();
    if (!at) return;
    const y = Math.round(u.valToPos(at.value, "y", true));
    const { left, width } = u.bbox;
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("limit");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.fillText(at.name, left + 4 * devicePixelRatio, y - 5 * devicePixelRatio);
    ctx.restore();
  }

  const watch = new ResizeObserver(() => chart && chart.setSize({ width: Math.max(200, canvas.clientWidth), height: 150 }));
  watch.observe(canvas);
  dark.addEventListener("change", make);

  return {
    figure,
    update(found) {
      samples = found ?? [];
      chart ? chart.setData(data()) : canvas.isConnected && make();
      const last = curves.map((curve) => [curve, samples.findLast((one) => one[curve.at] !== null)?.[curve.at]]);
      const said = last.map(([curve, value]) => `${curves.length > 1 ? `${curve.label} ` : ""}${value === undefined ? "–" : curve.show(value)}`).join(", ");
      text(now, said);
      canvas.setAttribute("aria-label", `${title}, ${unit}, the last five minutes. Now ${said}`);
      if (figure.querySelector("details").open) table();
    },
    leave() {
      watch.disconnect();
      dark.removeEventListener("change", make);
      chart?.destroy();
    },
  };

  function table() {
    const rows = samples.filter((one) => curves.some((curve) => one[curve.at])).slice(-8).reverse();
    body.replaceChildren(...rows.map((one) => el("tr", {},
      el("td", {}, new Date(one[0] * 1000).toTimeString().slice(0, 8)),
      curves.map((curve) => el("td", {}, one[curve.at] === null ? "–" : curve.show(one[curve.at]))),
      eveAt === undefined ? null : el("td", {}, one[eveAt] ? "there" : "not there"))));
  }
}
