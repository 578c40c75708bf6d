// The page: its parts, and which of them is shown.

import { attribute, el, text } from "./dom.js";
import { connectionView } from "./connection-view.js";
import { eventsView } from "./events.js";
import { frameView } from "./frame.js";
import { linkView } from "./link-view.js";
import { messagesView } from "./messages.js";
import { networkView } from "./network-view.js";
import { begin, logIn, act, onSession, session } from "./session.js";
import { onChange, store } from "./store.js";
import { connect } from "./stream.js";
import { tour } from "./tour.js";

const VIEWS = { "": networkView, link: linkView, connection: connectionView, messages: messagesView, frame: frameView, events: eventsView };
const main = document.getElementById("main");
let shown = { key: null, update: () => {} };

function route() {
  const [name = "", argument = ""] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  return { name: name in VIEWS ? name : "", argument };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Shows the page of the address; `moved`: somebody went there, so the focus goes along. */
function show(moved) {
  if (!store.state) return;
  const { name, argument } = route();
  const key = `${name}/${argument}`;
  if (shown.key !== key) {
    shown.leave?.();
    const content = el("div", { class: `view view-${name || "network"}` });
    main.replaceChildren(content);
    shown = { key, ...VIEWS[name](content, argument) };
    for (const anchor of document.querySelectorAll("nav a")) {
      const here = anchor.getAttribute("href") === `#/${name === "link" || name === "connection" ? "" : name}`;
      here ? anchor.setAttribute("aria-current", "page") : anchor.removeAttribute("aria-current");
    }
    document.title = `${main.querySelector("h1")?.textContent ?? ""} · QKD lab`;
    if (moved) (scrollTo(0, 0), main.focus({ preventScroll: true }));
  }
  shown.update(store);
}

addEventListener("hashchange", () => show(true));
onChange(() => {
  text(document.getElementById("network"), store.state.network);
  show(false);
  announce();
});

const feed = document.getElementById("feed");
connect((state) => {
  text(feed, state === "live" ? "live" : "reconnecting");
  attribute(feed, "data-health", state === "live" ? "ok" : "alarm");
  document.body.toggleAttribute("data-stale", state !== "live");
});

// A screen reader hears of the newest event at most every few seconds, not of a hundred a second.
let announcedAt = 0;
function announce() {
  const told = store.fresh.filter((one) => one.kind === "round" || one.kind === "operator");
  if (!told.length || Date.now() - announcedAt < 4000) return;
  announcedAt = Date.now();
  text(document.getElementById("announce"), told.at(-1).text);
}

const who = document.getElementById("session");
onSession(() => {
  if (session.may_act) return who.replaceChildren(el("span", { class: "badge", "data-health": "ok" }, "operator"));
  const token = el("input", { type: "password", size: 12, autocomplete: "off", "aria-label": "Token", placeholder: "token" });
  const form = el("form", { class: "login", onsubmit: (event) => (event.preventDefault(), act(form, () => logIn(token.value.trim()))) },
    token, el("button", { class: "quiet" }, "Log in"));
  who.replaceChildren(form);
});

tour(document.getElementById("tour"), document.getElementById("tour-button"));
begin();
