// What the page knows: the newest picture, ten minutes of samples, the newest rounds and events. All of it bounded.

const KEPT = { samples: 600, events: 300, rounds: 40 };

export const store = {
  state: null,
  series: { links: {}, connections: {} },
  rounds: [],
  events: [],
  fresh: [], // the events of the last message
};

const listeners = new Set();

export function onChange(listener) {
  listeners.add(listener);
}

export function hello(content) {
  Object.assign(store, content, { fresh: [] });
  tell();
}

export function tick({ state, samples, rounds, events }) {
  store.state = state;
  for (const kind of ["links", "connections"]) {
    const known = store.series[kind];
    for (const name of Object.keys(known)) if (!(name in samples[kind])) delete known[name];
    for (const [name, sample] of Object.entries(samples[kind])) {
      (known[name] ??= []).push(sample);
      if (known[name].length > KEPT.samples) known[name].shift();
    }
  }
  store.rounds.push(...rounds);
  store.rounds.splice(0, store.rounds.length - KEPT.rounds);
  store.events.push(...events);
  store.events.splice(0, store.events.length - KEPT.events);
  store.fresh = events;
  tell();
}

function tell() {
  for (const listener of listeners) listener(store);
}

export const findLink = (name) => store.state?.links.find((one) => one.name === name);
export const findConnection = (id) => store.state?.connections.find((one) => one.id === id);
export const roundsOf = (link) => store.rounds.filter((one) => one.link === link);
