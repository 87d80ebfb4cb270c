// Colours: display values of the image, and what the particles are painted with.

import { valueOf } from "./listing.mjs";

export const OKABE_ITO = [
  "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
];
const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
];
const NO_CLASS = "#999999";

/** 256 display values for brightness (-1..1), contrast (0.2..5) and gamma (0.2..5) inside low..high. */
export function makeLut({ low = 0, high = 255, brightness = 0, contrast = 1, gamma = 1, invert = false } = {}) {
  const lut = new Uint8ClampedArray(256), span = Math.max(high - low, 1e-6);
  for (let v = 0; v < 256; v++) {
    let t = ((v - low) / span - 0.5) * contrast + 0.5 + brightness;
    t = Math.min(Math.max(t, 0), 1) ** (1 / gamma);
    lut[v] = 255 * (invert ? 1 - t : t);
  }
  return lut;
}

/** A colour of the viridis scale for t in 0..1; grey where t is no number. */
export function viridis(t) {
  if (!Number.isFinite(t)) return "rgb(128,128,128)";
  const p = Math.min(Math.max(t, 0), 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(p), VIRIDIS.length - 2);
  const mix = VIRIDIS[i].map((v, k) => Math.round(v + (p - i) * (VIRIDIS[i + 1][k] - v)));
  return `rgb(${mix.join(",")})`;
}

/** Least and greatest of the finite values. */
export function spread(values) {
  return values.reduce(([a, b], v) => (Number.isFinite(v) ? [Math.min(a, v), Math.max(b, v)] : [a, b]), [Infinity, -Infinity]);
}

const SHARES = { iou: "predicted IoU", confidence: "confidence", probability: "probability of the class" };

/** A colour between one and white, as of what is only thought. */
export function paler(colour) {
  const part = (at) => Math.round(Number.parseInt(colour.slice(at, at + 2), 16) * 0.55 + 255 * 0.45);
  return `rgb(${part(1)},${part(3)},${part(5)})`;
}

/** What particles are coloured by: their number, their class, one of their scores or a column. */
export class Palette {
  constructor(store) {
    this.store = store;
    this.by = "particle";
    this.range = null;
  }

  /** Whether a particle's colour depends on itself alone. */
  get lone() {
    return this.by === "particle" || this.by in SHARES;
  }

  set(by) {
    this.by = by;
    this.range = null;
  }

  /** Particles came or went: the range of a column is found again when it is needed. */
  forget() {
    this.range = null;
  }

  /** The colour of a class, by its name. */
  ofClass(name) {
    const place = this.store.classes().indexOf(name);
    return place < 0 ? NO_CLASS : OKABE_ITO[place % OKABE_ITO.length];
  }

  /** The colour of each particle, as a function. */
  colours() {
    if (this.by === "particle") return (p) => OKABE_ITO[(p.id - 1) % OKABE_ITO.length];
    if (this.by === "class") {
      const known = new Map(this.store.classes().map((name) => [name, this.ofClass(name)]));
      const thought = new Map([...known].map(([name, colour]) => [name, paler(colour)]));
      return (p) => (p.label ? known.get(p.label) : thought.get(p.guess)) ?? NO_CLASS;
    }
    const { columns } = this.store, value = (p) => valueOf(p, this.by, columns);
    this.range ??= this.by in SHARES ? [0, 1] : spread(this.store.kept().map(value));
    const [low, high] = this.range;
    return (p) => viridis(high > low ? (value(p) - low) / (high - low) : 0.5);
  }

  /** What the colours mean: {classes: [name, colour]} or {name, low, high, ramp}; null if nothing. */
  legend() {
    if (this.by === "particle") return null;
    if (this.by === "class") {
      const named = this.store.classes().map((c) => [c, this.ofClass(c)]);
      const some = named.length && this.store.told.size ? [["predicted", paler(named[0][1])]] : [];
      return { classes: [...named, ...some, [some.length ? "unknown" : "no class", NO_CLASS]] };
    }
    this.colours();
    const [low, high] = this.range;
    const digits = high > low && Number(low.toPrecision(3)) === Number(high.toPrecision(3)) ? 6 : 3;
    const text = (v) => (Number.isFinite(v) ? String(Number(v.toPrecision(digits))) : "–");
    const ramp = VIRIDIS.map((_, i) => viridis(i / (VIRIDIS.length - 1)));
    return { name: SHARES[this.by] ?? this.by, low: text(low), high: text(high), ramp };
  }
}
