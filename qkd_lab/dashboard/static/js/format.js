// Numbers, times and states as people read them.

const whole = new Intl.NumberFormat("en");
const few = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(Math.round(value)));
export const percent = (value, digits = 2) =>
  value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)} %`;
export const time = (when) => (when ? clock.format(new Date(when)) : "–");
export const short = (id) => `${String(id).slice(0, 4)}…`;

/** 31.1 kbit/s */
export function bits(value, unit = "bit") {
  if (value === null || value === undefined) return "–";
  for (const [size, prefix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${few.format(value / size)} ${prefix}${unit}`;
  }
  return `${few.format(value)} ${unit}`;
}

/** A state's word and shape: never the colour alone. */
export const HEALTH = {
  ok: { word: "healthy", shape: "●" },
  stopped: { word: "stopped", shape: "■" },
  alarm: { word: "alarm", shape: "▲" },
  down: { word: "down", shape: "✕" },
};

export const isEve = (eve) => eve !== null && eve !== undefined && eve !== "none";
