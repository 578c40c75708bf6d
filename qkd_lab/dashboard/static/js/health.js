// A state as shape, word and colour.

import { attribute, el, text } from "./dom.js";
import { HEALTH } from "./format.js";

export function badge() {
  return el("span", { class: "badge" });
}

export function showHealth(node, health, why = []) {
  const { word, shape } = HEALTH[health];
  attribute(node, "data-health", health);
  text(node, `${shape} ${word}`);
  attribute(node, "title", why.join("; "));
}
