// Who is at the page, and the calls that only an operator may make.

import { el } from "./dom.js";

export const session = { may_act: false, csrf_token: "" };
const listeners = new Set();

export function onSession(listener) {
  listeners.add(listener);
}

/** The token of a login link is behind the `#`, so that no server and no log sees it; it is taken out of sight at once. */
export async function begin() {
  const token = /^#token=([0-9a-f]+)$/.exec(location.hash)?.[1];
  if (token) {
    history.replaceState(null, "", "#/");
    await logIn(token).catch((error) => say(error.message));
  } else {
    set(await (await fetch("session")).json());
  }
}

export async function logIn(token) {
  set(await call("POST", "session", { token }));
}

/** One call: its JSON answer. What is refused is thrown in the server's words. */
export async function call(method, path, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": session.csrf_token ?? "" };
  let response;
  try {
    response = await fetch(path, { method, headers, body: JSON.stringify(body ?? {}) });
  } catch {
    throw new Error("the dashboard does not answer: it is tried again when the feed is back");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== "session") set({ may_act: false });
  if (!response.ok) throw new Error(answer.message ?? `refused (${response.status})`);
  return answer;
}

/** Runs an action of a control: the control waits, what goes wrong is said. */
export async function act(control, work) {
  control.setAttribute("aria-busy", "true");
  try {
    return await work();
  } catch (error) {
    say(error.message);
    return null;
  } finally {
    control.removeAttribute("aria-busy");
  }
}

let silence = 0;
export function say(message) {
  const said = document.getElementById("said");
  said.replaceChildren(el("p", {}, message), el("button", { type: "button", onclick: () => said.replaceChildren() }, "Close"));
  clearTimeout(silence);
  silence = setTimeout(() => said.replaceChildren(), 12000);
}

function set(found) {
  session.may_act = found.may_act;
  session.csrf_token = found.csrf_token ?? "";
  for (const listener of listeners) listener(session);
}

/** Controls of an operator: locked, and it is said why, where nobody is logged in. */
export function operatorOnly(fieldset) {
  const hint = el("p", { class: "hint" }, "View only. ", el("code", {}, "qkd-lab dashboard"), " prints a link that may act.");
  fieldset.querySelector("legend").after(hint);
  const show = () => {
    fieldset.disabled = !session.may_act;
    hint.hidden = session.may_act;
  };
  listeners.add(show);
  show();
  return fieldset;
}
