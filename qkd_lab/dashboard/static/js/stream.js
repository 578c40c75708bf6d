// Server-sent events. The browser connects again by itself; where it gives up, this does.

import { hello, tick } from "./store.js";

// The feed has a message a second. A machine that is too busy for that is asked again less and less often.
const SILENCE_MS = { first: 6000, longest: 60000 };

export function connect(onState) {
  let source = null;
  let heard = 0;
  let patience = SILENCE_MS.first;

  function open() {
    source?.close();
    source = new EventSource("api/stream");
    heard = Date.now();
    source.addEventListener("hello", (event) => (alive(), hello(JSON.parse(event.data))));
    source.addEventListener("tick", (event) => (alive(), tick(JSON.parse(event.data))));
    source.addEventListener("error", () => onState("reconnecting"));
  }

  function alive() {
    heard = Date.now();
    patience = SILENCE_MS.first;
    onState("live");
  }

  open();
  setInterval(() => {
    if (Date.now() - heard <= patience) return;
    patience = Math.min(2 * patience, SILENCE_MS.longest);
    onState("reconnecting");
    open();
  }, 2000);
}
