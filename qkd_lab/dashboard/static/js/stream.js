// Server-sent events. The browser connects again by itself; where it gives up, this does.

import { hello, tick } from "./store.js";

const SILENCE_MS = 6000; // the feed has a message a second

export function connect(onState) {
  let source = null;
  let heard = 0;

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
    onState("live");
  }

  open();
  setInterval(() => {
    if (Date.now() - heard > SILENCE_MS) (onState("reconnecting"), open());
  }, 2000);
}
