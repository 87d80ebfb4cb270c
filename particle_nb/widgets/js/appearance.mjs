// How image and masks look: tones of the image, opacity, fills, contours, colours.

import { element, slider, textButton } from "./elements.mjs";

const PLAIN = { brightness: 0, contrast: 1, gamma: 1 };
const RANGES = { brightness: [-1, 1, 0.01], contrast: [0.2, 5, 0.05], gamma: [0.2, 5, 0.05] };

export class Appearance {
  constructor({ store, painter, palette, recoloured }) {
    Object.assign(this, { store, painter, palette });
    this.tone = { low: 0, high: 255, ...PLAIN, invert: false };
    const text = (v) => v.toFixed(2), { style } = painter;
    const share = (label, [low, high, step], value, run) => slider(label, { value, low, high, step, text }, run);
    const tones = Object.keys(PLAIN).map((key) => [key, share(key, RANGES[key], PLAIN[key], (v) => this.#set(key, v))]);
    this.sliders = Object.fromEntries(tones);
    const opacity = share("opacity", [0, 1, 0.01], style.opacity, (v) => { style.opacity = v; painter.paint(); });
    const certain = share("certain from", [0, 1, 0.01], style.certain, (v) => { style.certain = v; recoloured(); painter.paint(); });
    certain.title = "Masks of less confidence than this have dashed outlines";
    const check = (label, checked, run) => {
      const input = element("input", { type: "checkbox", checked, onchange: () => run(input.checked) });
      return Object.assign(element("label", { class: "pnb-check" }, input, label), { input });
    };
    const styled = (label, key) => check(label, style[key], (on) => { style[key] = on; painter.paint(); });
    this.invert = check("invert", false, (on) => this.#set("invert", on));
    this.colour = element("select", {
      class: "pnb-select", "aria-label": "Colour particles by",
      onchange: () => { palette.set(this.colour.value); recoloured(); painter.paint(); },
    });
    this.nodes = [
      element("div", { class: "pnb-sliders" }, ...Object.values(this.sliders), opacity, certain),
      element("div", { class: "pnb-checks" }, styled("fills", "fill"), styled("contours", "contour"), this.invert),
      element("label", { class: "pnb-slider pnb-wide" }, element("span", {}, "colour by"), this.colour),
      textButton("reset", null, () => this.reset()),
    ];
  }

  /** Colours by the columns that the kernel has. */
  showColumns() {
    const fixed = [
      ["particle", "particle"], ["class", "class"], ["probability", "probability of the class"],
      ["confidence", "confidence"], ["iou", "predicted IoU"],
    ];
    const more = this.store.columns.filter((c) => !fixed.some(([key]) => key === c));
    const options = [...fixed, ...more.map((c) => [c, c])];
    // with another scale a column has another unit
    if (!options.some(([key]) => key === this.palette.by)) this.palette.set("particle");
    this.colour.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
    this.colour.value = this.palette.by;
  }

  /** Colour by something else, as if it had been chosen here. */
  colourBy(by) {
    this.colour.value = by;
    this.colour.dispatchEvent(new Event("change"));
  }

  /** The grey values of the image that become black and white. */
  window(low, high) {
    Object.assign(this.tone, { low, high });
    this.store.picture.setLut(this.tone);
  }

  reset() {
    for (const [key, value] of Object.entries(PLAIN)) {
      const { input, out } = this.sliders[key];
      this.tone[key] = input.value = value;
      out.textContent = value.toFixed(2);
    }
    this.#set("invert", (this.invert.input.checked = false));
  }

  #set(key, value) {
    this.tone[key] = value;
    this.store.picture?.setLut(this.tone);
    this.painter.paint();
  }
}
