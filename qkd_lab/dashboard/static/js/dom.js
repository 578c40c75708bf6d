// Elements from values. Text only ever becomes text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Writes only what has changed, so that nothing is drawn or read out anew for nothing. */
export function text(node, value) {
  if (node.textContent !== String(value)) node.textContent = value;
}

export function attribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Keeps a child of `parent` for each item, in order, by its key: `make(item)` once, `update(node, item)` each time. */
export function keyed(parent, items, key, make, update) {
  const known = (parent.keyed ??= new Map());
  const wanted = new Set(items.map(key));
  for (const [name, node] of known) if (!wanted.has(name)) (node.remove(), known.delete(name));
  let before = null;
  for (const item of [...items].reverse()) {
    const name = key(item);
    if (!known.has(name)) known.set(name, make(item));
    const node = known.get(name);
    if (node.nextSibling !== before || node.parentNode !== parent) parent.insertBefore(node, before);
    update(node, item);
    before = node;
  }
}

export const link = (name) => `#/link/${encodeURIComponent(name)}`;
export const connection = (id) => `#/connection/${encodeURIComponent(id)}`;
