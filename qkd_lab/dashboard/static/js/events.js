// What happens, in words.

import { el, keyed, text } from "./dom.js";
import { time } from "./format.js";
import { store } from "./store.js";

const KINDS = { delivery: "Deliveries", filling: "Filling", block: "Blocks", round: "Rounds", refusal: "Refusals", loss: "Losses", operator: "Operators" };

/** The newest `shown` events that pass `filter`, the newest first. */
export function feed(shown, filter = () => true) {
  const list = el("ol", { class: "feed" });
  const none = el("p", { class: "muted" }, "Nothing yet.");
  return {
    node: el("div", {}, none, list),
    update() {
      const found = store.events.filter(filter).slice(-shown).reverse();
      none.hidden = found.length > 0;
      keyed(list, found, (one) => one.id,
        (one) => el("li", { class: one.kind }, el("time", { datetime: one.at }, time(one.at)), el("span", { class: "kind" }, KINDS[one.kind] ?? one.kind), el("span", { class: "text" }, one.text)),
        () => {});
    },
  };
}

export function eventsView(root) {
  const wanted = { kinds: new Set(Object.keys(KINDS)), site: "", words: "" };
  const list = feed(150, (one) => wanted.kinds.has(one.kind) && (!wanted.site || one.kme === wanted.site) && one.text.toLowerCase().includes(wanted.words));
  const number = el("p", { class: "muted" });
  const sites = el("select", { onchange: (event) => ((wanted.site = event.target.value), list.update()) }, el("option", { value: "" }, "all"),
    store.state.sites.map((site) => el("option", { value: site.kme }, site.kme)));
  const boxes = Object.entries(KINDS).map(([kind, label]) => el("label", {}, el("input", {
    type: "checkbox", checked: true,
    onchange: (event) => (event.target.checked ? wanted.kinds.add(kind) : wanted.kinds.delete(kind), list.update()),
  }), label));
  root.append(el("h1", {}, "Events"), el("section", { class: "panel" },
    el("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      el("fieldset", {}, el("legend", {}, "Kinds"), boxes),
      el("label", {}, "KME ", sites),
      el("label", {}, "Words ", el("input", { type: "search", oninput: (event) => ((wanted.words = event.target.value.toLowerCase()), list.update()) }))),
    number, list.node));
  return {
    update() {
      list.update();
      text(number, `The newest ${store.events.length} events are kept here; the audit trail of each KME has all of them.`);
    },
  };
}
