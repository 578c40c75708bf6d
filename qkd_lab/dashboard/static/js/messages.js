// Register a connection; send a message between demo SAEs and see what each end has of it.

import { el } from "./dom.js";
import { act, call, operatorOnly } from "./session.js";
import { store } from "./store.js";

export function messagesView(root) {
  root.append(el("h1", {}, "Messages and connections"), el("div", { class: "columns" }, sending(), registering()));
  return { update() {} };
}

const saes = (kind) => store.state.sites.flatMap((site) => site[kind]);
const options = (names, chosen) => names.map((name, index) => el("option", { value: name, selected: index === chosen }, name));

function sending() {
  const demo = saes("demo_saes");
  const result = el("div", { class: "ends", "aria-live": "polite" });
  const form = el("form", { onsubmit: send },
    operatorOnly(el("fieldset", { class: "controls" }, el("legend", {}, "Send a message under QKD keys"),
      el("label", {}, "From", el("select", { name: "from" }, options(demo, 0))),
      el("label", {}, "To", el("select", { name: "to" }, options(demo, 1))),
      el("label", {}, "Cipher", el("select", { name: "mode" }, options(["aes-256-gcm", "one-time-pad"], 0))),
      el("label", {}, "Text", el("input", { name: "text", value: "Meet me at noon.", maxlength: 1000, required: true })),
      el("button", {}, "Send"))));
  async function send(event) {
    event.preventDefault();
    const order = Object.fromEntries(new FormData(form));
    const found = await act(form, () => call("POST", "api/messages", order));
    if (found) result.replaceChildren(...ends(order.from, order.to, found));
  }
  return el("section", { class: "panel" }, el("h2", {}, "A message"), form, result);
}

/** Both ends of a message: the same key_ID and ciphertext, and the text where the key is. */
export function ends(from, to, { sent, received }) {
  return [["wrote and sealed", from, sent], ["fetched the key and read", to, received]].map(([did, sae, end]) =>
    el("article", { class: "end" }, el("h3", {}, `${sae} ${did}`),
      end ? el("dl", {}, pair("Text", end.text), pair(end.key_IDs.length > 1 ? `key_ID, the first of ${end.key_IDs.length}` : "key_ID", end.key_IDs[0]), pair(`Ciphertext (${end.mode})`, end.ciphertext))
        : el("p", {}, "It is not in the inbox any more.")));
}

const pair = (what, value) => el("div", {}, el("dt", {}, what), el("dd", {}, value));

function registering() {
  const all = saes("saes");
  const done = el("p", { role: "status" });
  const form = el("form", { onsubmit: register },
    operatorOnly(el("fieldset", { class: "controls" }, el("legend", {}, "Register a connection"),
      el("label", {}, "Master, who asks first", el("select", { name: "master" }, options(all, 0))),
      el("label", {}, "Slave, who fetches", el("select", { name: "slave" }, options(all, 1))),
      el("label", {}, "Bits of a key", el("input", { name: "key_size", type: "number", value: 256, min: 8, max: 4096, step: 8, required: true })),
      el("label", {}, "Keys in a full pool", el("input", { name: "max_keys_count", type: "number", value: 200, min: 1, max: 100000, required: true })),
      el("button", {}, "Register"))));
  async function register(event) {
    event.preventDefault();
    const { master, slave, key_size, max_keys_count } = Object.fromEntries(new FormData(form));
    const wanted = { master, slave, key_size: Number(key_size), max_keys_count: Number(max_keys_count) };
    const found = await act(form, () => call("POST", "api/connections", wanted));
    if (found) done.textContent = `${master} → ${slave} is registered. Its pool fills as soon as there are bits.`;
  }
  return el("section", { class: "panel" }, el("h2", {}, "A connection"), form, done);
}
