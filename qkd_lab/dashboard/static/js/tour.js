// A guided tour for a talk: five steps from a clean link over Eve to recovery. Each looks by itself whether it was seen.

import { el, text } from "./dom.js";
import { count, isEve, percent, time } from "./format.js";
import { ends } from "./messages.js";
import { act, call, onSession, session } from "./session.js";
import { onChange, roundsOf, store } from "./store.js";

const quantum = () => store.state?.links.find((one) => one.quantum);
const path = () => `api/links/${encodeURIComponent(quantum().name)}/physics`;
const newest = (test) => roundsOf(quantum()?.name).filter(test).at(-1);
const pool = () => store.state.connections[0];

const STEPS = [
  {
    title: "A clean link",
    text: "Alice sends single photons, Bob measures. A percent of the sifted bits differ: noise, far below the threshold. The demo SAEs use up keys, so that round follows round.",
    button: "Let the SAEs send messages",
    run: () => call("PUT", "api/traffic", { on: true }),
    seen: () => {
      const round = newest((one) => one.outcome === "key" && !isEve(one.eve));
      return round && `${time(round.began_at)}: QBER ${percent(round.qber)}, ${count(round.secret_bits)} secret bits`;
    },
  },
  {
    title: "A message under a key",
    text: "One SAE takes a key from its own KME and seals a text with it; the other fetches the same key at its own KME by the key_ID. The key itself never travels between them.",
    button: "Send “Meet me at noon.”",
    run: async (show) => {
      const [from, to] = [pool().master, pool().slave];
      const found = await call("POST", "api/messages", { from, to, text: "Meet me at noon.", mode: "aes-256-gcm" });
      show(ends(from, to, found));
      return found;
    },
    seen: (done) => done?.received && `read at the other end under key ${done.received.key_IDs[0].slice(0, 8)}…`,
  },
  {
    title: "Eve listens",
    text: "She measures every photon in a basis she guesses, and sends on what she found. In half of the cases she guesses wrong, and then half of Bob's bits are wrong: 25 percent errors.",
    button: "Let Eve in",
    run: () => call("PATCH", path(), { eve: "intercept-resend:1" }),
    seen: () => isEve(quantum()?.eve) && "Eve is on the fibre, which only the simulator knows",
  },
  {
    title: "She is caught",
    text: "Alice and Bob see no Eve, only their QBER. It is above the threshold, so they throw the round away. No key is made while she listens, and the pools run dry.",
    seen: () => {
      const round = newest((one) => one.outcome !== "key" && isEve(one.eve));
      return round && isEve(quantum().eve) && `${time(round.began_at)}: QBER ${percent(round.qber)}, no key; ${count(pool().level)} of ${count(pool().high)} keys left`;
    },
  },
  {
    title: "Recovery",
    text: "Eve leaves. The next round is clean, gives key, and the pools fill again, by themselves.",
    button: "Send Eve away",
    run: () => call("PATCH", path(), { eve: "none" }),
    seen: () => {
      const last = roundsOf(quantum()?.name).at(-1);
      return !isEve(quantum()?.eve) && last?.outcome === "key" && !isEve(last.eve) && `${time(last.began_at)}: QBER ${percent(last.qber)}, ${count(last.secret_bits)} secret bits`;
    },
  },
];

export function tour(room, button) {
  let step = 0;
  let done = null;
  const number = el("p", { class: "number" }), title = el("h2", { tabindex: -1 }), words = el("p"), seen = el("p", { class: "seen", role: "status" }), shown = el("div", { class: "ends" });
  const run = el("button", { type: "button", class: "main", onclick: () => act(run, async () => (done = await STEPS[step].run((nodes) => shown.replaceChildren(...nodes)))).then(update) });
  const back = el("button", { type: "button", class: "quiet", onclick: () => go(step - 1) }, "Back");
  const next = el("button", { type: "button", class: "quiet", onclick: () => go(step + 1) }, "Next");
  const close = el("button", { type: "button", class: "quiet", onclick: () => open(false) }, "End the tour");
  const hint = el("p", { class: "hint" }, "View only: log in to act.");
  room.append(number, title, words, run, hint, seen, shown, el("div", { class: "steps" }, back, next, close));

  function go(to) {
    step = Math.max(0, Math.min(STEPS.length - 1, to));
    done = null;
    shown.replaceChildren();
    update();
    title.focus({ preventScroll: true });
  }

  function update() {
    if (room.hidden || !store.state) return;
    const one = STEPS[step];
    text(number, `${step + 1} of ${STEPS.length}`);
    text(title, one.title);
    text(words, one.text);
    run.hidden = !one.run;
    run.disabled = !session.may_act || !quantum();
    hint.hidden = session.may_act || !one.run;
    text(run, one.button ?? "");
    const found = quantum() && one.seen(done);
    text(seen, found ? `● Seen: ${found}` : "○ Waiting to see it");
    seen.toggleAttribute("data-seen", !!found);
    back.disabled = step === 0;
    next.disabled = step === STEPS.length - 1;
  }

  function open(on) {
    room.hidden = !on;
    document.body.toggleAttribute("data-tour", on);
    button.setAttribute("aria-expanded", on);
    on ? go(0) : button.focus();
  }
  button.addEventListener("click", () => open(room.hidden));
  room.addEventListener("keydown", (event) => event.key === "Escape" && open(false));
  onChange(update);
  onSession(update);
}
