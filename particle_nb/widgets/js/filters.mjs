// Thresholds of the cascade: the sliders, and one trial at a time with the kernel.

import { element, slider, textButton } from "./elements.mjs";

/** Thresholds of the cascade: name, label, greatest value (0: that of the largest particle), step,
 *  the end at which it is off, its stage in the audit. */
const THRESHOLDS = [
  ["min_confidence", "confidence ≥", 1, 0.01, "low", "confidence"],
  ["min_predicted_iou", "predicted IoU ≥", 1, 0.01, "low", "confidence"],
  ["min_stability", "stability ≥", 1, 0.01, "low", "stability"],
  ["min_area", "area ≥ (px)", 0, 1, "low", "area"],
  ["max_area", "area ≤ (px)", 0, 1, "high", "area"],
  ["min_contrast", "contrast ≥", 0.5, 0.005, "low", "contrast"],
  ["min_form_factor", "form factor ≥", 1, 0.01, "low", "form_factor"],
  ["duplicate_iou", "overlap IoU ≤", 1, 0.01, "high", "duplicates"],
];
const CHOICES = [
  ["nested", "nested masks", "resolve", "keep", "duplicates", "Of a mask and those inside it, the outer or the inner ones stay"],
  ["edge", "cut by the frame", "exclude", "keep", "edge", "Hide masks that touch the frame of the image"],
];

/** The thresholds with one changed; the area's two ends never cross. */
export function withThreshold(settings, key, value) {
  const next = { ...settings, [key]: value };
  if (key === "min_area" && value != null && next.max_area != null) next.min_area = Math.min(value, next.max_area);
  if (key === "max_area" && value != null && next.min_area != null) next.max_area = Math.max(value, next.min_area);
  return next;
}

/** Where a threshold stands on its slider, and back; areas are logarithmic, one end means off. */
export function thresholdToSlider(value, limit, area, off) {
  if (value == null) return off === "high" ? limit : 0;
  return Math.min(area ? Math.log1p(value) : value, limit);
}
export function sliderToThreshold(position, limit, area, off) {
  if (off === "high" ? position >= limit * 0.998 : position <= 0) return null;
  return area ? Math.max(1, Math.round(Math.expm1(position))) : Number(position.toFixed(4));
}

/** How a threshold reads: "off", pixels or a share. */
export function thresholdText(value, area, step) {
  if (value == null) return "off";
  return area ? String(value) : value.toFixed(step < 0.01 ? 3 : 2);
}

const REST = 700; // milliseconds without a key after which what keys have moved is one action

/** While a slider moves, the kernel tries the thresholds and says what would stay; one request is in
 *  flight. Letting go makes it an action, one for a drag or for a row of keys. */
export class FilterTrial {
  constructor({ store, link, changed }) {
    Object.assign(this, { store, link, changed });
    this.trying = null; // thresholds that are tried, null if those of the store hold
    this.wanted = null;
    this.busy = false;
    this.resting = null;
  }

  get settings() {
    return this.trying || this.store.settings;
  }

  /** One threshold moved; the others stay what the kernel last said they are. */
  change(key, value, end) {
    const settings = withThreshold(this.settings, key, value);
    if (end) return this.#end(settings);
    this.trying = this.wanted = settings;
    this.changed();
    this.next();
  }

  /** A key was pressed, more may follow: the action waits until they rest. */
  rest() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.flush(), REST);
  }

  /** Make an action now of what keys have moved. */
  flush() {
    if (this.resting == null) return;
    const settings = this.trying;
    this.#awake();
    if (settings) this.#end(settings);
  }

  #awake() {
    clearTimeout(this.resting);
    this.resting = null;
  }

  #end(settings) {
    this.#awake();
    this.wanted = null;
    const same = [...THRESHOLDS, ...CHOICES].every(([key]) => settings[key] === this.store.settings[key]);
    this.trying = same ? null : settings;
    if (same) this.link.request("filter", { settings });
    else this.link.act({ action: "filter", settings });
  }

  next() {
    if (this.busy || !this.wanted) return;
    this.busy = true;
    this.link.request("filter", { settings: this.wanted });
    this.wanted = null;
  }

  /** The kernel answered the last trial. */
  answered() {
    this.busy = false;
    this.next();
  }

  /** The kernel says which thresholds hold. */
  settle() {
    if (!this.wanted && this.resting == null) this.trying = null;
  }

  /** Something failed: the sliders go back to what holds. */
  giveUp() {
    this.#awake();
    if (!this.trying) return;
    this.trying = null;
    this.changed();
  }
}

export class Filters {
  constructor({ store, link }) {
    Object.assign(this, { store, link });
    this.node = element("div", { class: "pnb-sliders" });
    this.trial = new FilterTrial({ store, link, changed: () => this.show() });
    this.inputs = null;
  }

  show() {
    const { summary, removed } = this.store;
    if (!summary.filterable) {
      this.inputs = null;
      const none = "Thresholds act on proposals of the automatic mode; there are none here.";
      return this.node.replaceChildren(element("p", { class: "pnb-empty" }, none));
    }
    const top = Math.log1p(summary.largest), { settings } = this.trial, stages = new Set();
    if (!this.inputs) this.#build(top);
    // of thresholds that share a stage the first that is on says how many it hides
    const hides = (stage, on) => {
      const text = on && !stages.has(stage) && removed?.[stage] ? `−${removed[stage]}` : "";
      if (on) stages.add(stage);
      return text;
    };
    for (const [key, , most, step, off, stage] of THRESHOLDS) {
      const { input, out, gone } = this.inputs[key], area = most === 0, value = settings[key];
      if (area && input.max < top) input.max = top;
      const limit = Number(input.max), position = thresholdToSlider(value, limit, area, off);
      // several places stand for the same area: a slider that is right already stays where it is
      if (sliderToThreshold(Number(input.value), limit, area, off) !== value) input.value = position;
      out.textContent = thresholdText(value, area, step);
      input.setAttribute("aria-valuetext", out.textContent);
      gone.textContent = hides(stage, value != null);
    }
    for (const [key, , on, , stage] of CHOICES) {
      const { input, gone } = this.inputs[key];
      input.checked = settings[key] === on;
      gone.textContent = hides(stage, input.checked);
    }
  }

  #build(top) {
    this.inputs = {};
    const rows = THRESHOLDS.map((threshold) => this.#slider(threshold, top));
    const checks = CHOICES.map((choice) => this.#check(choice));
    const all = (name, title, pick) =>
      textButton(name, title, () => this.link.act({ action: "filter", settings: pick() }));
    this.node.replaceChildren(...rows, element("div", { class: "pnb-checks" }, element("span", {}, "hide"), ...checks),
      element("div", { class: "pnb-checks" },
        all("usual thresholds", "The defaults of FilterSettings", () => this.store.usual),
        all("all off", "Show every proposal", () => this.store.off)));
  }

  #slider([key, label, most, step, off], top) {
    const area = most === 0, high = area ? top : most;
    const range = { value: 0, low: 0, high, step: area ? high / 400 : step, text: () => "", attributes: { "data-filter": key } };
    let keyed = false; // whether the slider is moved by keys
    const node = slider(label, range, (position, end) => {
      this.trial.change(key, sliderToThreshold(position, Number(node.input.max), area, off), end && !keyed);
      if (end && keyed) this.trial.rest();
      if (end) keyed = false;
    });
    node.addEventListener("keydown", () => { keyed = true; });
    node.addEventListener("pointerdown", () => { keyed = false; });
    node.addEventListener("focusout", () => this.trial.flush());
    node.gone = element("small", { class: "pnb-gone", title: "proposals that this threshold hides" });
    node.append(node.gone);
    return (this.inputs[key] = node);
  }

  #check([key, label, on, off, , title]) {
    const change = (e) => this.trial.change(key, e.target.checked ? on : off, true);
    const input = element("input", { type: "checkbox", "data-filter": key, onchange: change });
    const gone = element("small", { class: "pnb-gone", title: "proposals that this hides" });
    this.inputs[key] = { input, gone };
    return element("label", { class: "pnb-check", title }, input, label, gone);
  }
}
