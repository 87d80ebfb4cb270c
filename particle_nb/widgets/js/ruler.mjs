// The scale from a bar in the picture: its ends to a part of a pixel, and the length that it stands for.

import { element, textButton } from "./elements.mjs";

const LEVEL = 15; // degrees within which a drawn line counts as level or upright
const REACH = 5; // pixels within which an end is looked for
const STEP = 24; // grey levels that a bar differs from its ground at least

/** A drawn line made level or upright if it nearly is, from left to right or top to bottom: [x0, y0, x1, y1]. */
export function levelled([ax, ay], [bx, by], free = false) {
  const [x0, y0, x1, y1] = ax <= bx ? [ax, ay, bx, by] : [bx, by, ax, ay];
  const tilt = (Math.atan2(Math.abs(y1 - y0), x1 - x0) * 180) / Math.PI;
  if (free || (tilt > LEVEL && tilt < 90 - LEVEL)) return [x0, y0, x1, y1];
  return tilt > LEVEL ? [ax, Math.min(y0, y1), ax, Math.max(y0, y1)] : [x0, y0, x1, y0];
}

/** Where the grey values of a row cross the middle between bar and ground next to `near`, going
 *  `way` (1 or -1) out of the bar; `near` itself where there is no clear step. */
export function crossing(grey, near, way, inside) {
  const start = Math.round(near) - way * REACH;
  const ground = [6, 7, 8].map((k) => grey(Math.round(near) + way * k)).filter(Number.isFinite).sort((a, b) => a - b);
  const outside = ground[ground.length >> 1];
  if (outside === undefined || Math.abs(outside - inside) < STEP) return near;
  const half = (inside + outside) / 2, beyond = (v) => (v - half) * (outside - half) >= 0;
  for (let x = start, k = 0; k <= 2 * REACH; x += way, k++) {
    const here = grey(x), next = grey(x + way);
    if (!Number.isFinite(here) || !Number.isFinite(next)) return near;
    if (!beyond(here) && beyond(next)) return x + (way * (half - here)) / (next - here);
  }
  return near;
}

/** The ends of a level or upright bar moved onto its steps of grey; `grey(x, y)` is NaN beside the image. */
export function barEnds([x0, y0, x1, y1], grey) {
  if (x0 === x1 && y1 > y0) {
    const [a, , b] = barEnds([y0, x0, y1, x0], (y, x) => grey(x, y));
    return [x0, a, x0, b];
  }
  if (y0 !== y1 || x1 - x0 < 4 * REACH) return [x0, y0, x1, y1];
  const row = (x) => grey(x, Math.round(y0)), middle = [];
  for (let x = Math.round(x0) + REACH; x <= Math.round(x1) - REACH; x++) middle.push(row(x));
  const inside = middle.filter(Number.isFinite).sort((a, b) => a - b)[middle.length >> 1];
  return [crossing(row, x0, -1, inside), y0, crossing(row, x1, 1, inside), y1];
}

/** Asks for the length of a bar that was drawn, or was found in the picture. */
export class Ruler {
  constructor({ store, hand, link, painter, notices, top }) {
    Object.assign(this, { store, hand, link, painter, notices, top });
    this.asked = false; // whether the kernel was asked for a bar
    this.found = null; // what it found: {bar, length, box, note}
    this.text = element("p", {});
    this.length = element("input", {
      class: "pnb-input", placeholder: "e.g. 200 nm", "aria-label": "Length of the bar, with its unit",
      onkeydown: (e) => this.#key(e),
    });
    this.without = element("input", { type: "checkbox", checked: true });
    this.leave = element("label", { class: "pnb-check" }, this.without, "leave bar and text out of the analysis");
    this.set = textButton("set the scale", "Take the scale from this bar", () => this.apply());
    this.own = textButton("the image's own", "Take the drawn scale back", () => this.#own());
    this.node = element("div", { class: "pnb-ask", role: "group", "aria-label": "Scale", hidden: true },
      this.text, this.length, this.leave, element("div", { class: "pnb-edit-row" }, this.set, this.own));
    hand.on("tool", () => this.#taken());
  }

  #taken() {
    this.node.hidden = this.hand.tool !== "scale";
    if (this.node.hidden) return;
    if (this.found && !this.hand.bar) this.hand.bar = this.found.bar;
    if (!this.asked && this.store.picture) {
      this.asked = true;
      this.link.request("scale_bar");
    }
    this.show();
  }

  /** A bar was drawn: the ends are moved onto its rims, and its length is asked for. */
  drawn(first, last, free) {
    const bar = levelled(first, last, free), { picture } = this.store;
    const grey = (x, y) => (x < 0 || y < 0 || x >= picture.width || y >= picture.height ? NaN : picture.values(x, y)[0]);
    this.hand.bar = barEnds(bar, grey);
    this.found = null;
    this.show();
    this.length.focus({ preventScroll: true });
    this.length.select();
  }

  /** What the kernel found in the picture: shown, and used only if somebody says so. */
  receive({ found }) {
    if (!found || this.hand.bar || this.store.premises?.drawn) return;
    this.found = found;
    this.length.value = found.length ?? "";
    if (this.hand.tool !== "scale") return; // shown when the tool is taken again
    this.hand.bar = found.bar;
    this.show();
    this.painter.paintTop();
  }

  show() {
    const { bar } = this.hand, { scale } = this.store.premises ?? {}, { found } = this;
    const now = scale ? `Now: ${scale}` : "There is no scale yet.";
    const pixels = bar && Math.hypot(bar[2] - bar[0], bar[3] - bar[1]).toFixed(1);
    this.text.textContent = !bar ? `Drag along the bar in the picture. ${now}`
      : found ? `${found.found === true ? "" : "In the info bar below the picture: "}${found.note}. Check the bar and its length, then set the scale.`
      : `The bar is ${pixels} px long. What length does it stand for?`;
    this.length.hidden = this.set.hidden = !bar;
    this.leave.hidden = !found?.box;
    this.own.hidden = !this.store.premises?.drawn;
    this.painter.paintTop();
  }

  #key(event) {
    if (event.key === "Enter") this.apply();
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  clear() {
    this.hand.bar = this.found = null;
    this.show();
    this.top.focus({ preventScroll: true });
  }

  apply() {
    const { bar } = this.hand, length = this.length.value.trim(), { found, store } = this;
    if (!bar) return;
    if (!length) return this.notices.fail("Write the length of the bar with its unit, such as 200 nm.");
    this.link.act({ action: "scale", bar, length, ...(found ? { found: found.found } : {}) });
    if (found?.box && this.without.checked) {
      const [x0, y0, x1, y1] = found.box, path = [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]];
      this.link.act({ action: "region", parts: [...store.premises.regions, { path, include: false }] });
    }
    this.top.focus({ preventScroll: true });
  }

  #own() {
    this.link.act({ action: "scale", bar: null });
    this.clear();
  }

  /** The kernel says which scale holds. */
  settled() {
    if (this.store.premises.drawn) this.hand.bar = this.found = null;
    this.show();
  }
}
