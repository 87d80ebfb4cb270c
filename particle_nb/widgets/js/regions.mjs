// The part of the image that is analysed: parts that are included, and parts that are left out.

import { boxOf } from "./geometry.mjs";
import { element, textButton } from "./elements.mjs";

/** The corners of a rectangle between two opposite ones, cut to the image. */
export function rectangle(a, b, { width, height }) {
  const [x0, y0, x1, y1] = boxOf(a, b), clip = (v, most) => Math.min(Math.max(v, -0.5), most - 0.5);
  const [l, t, r, d] = [clip(x0, width), clip(y0, height), clip(x1, width), clip(y1, height)];
  return [[l, t], [r, t], [r, d], [l, d]];
}

export class Regions {
  constructor({ store, hand, link, commands }) {
    Object.assign(this, { store, hand, link });
    this.text = element("p", {});
    const kind = (text, sign) => element("button", {
      type: "button", class: "pnb-text-button", "aria-pressed": "false", title: `${text} (T turns it)`,
      onclick: () => { if (hand.sign !== sign) commands.turnSign(); },
    }, text);
    this.kinds = [kind("leave out", 0), kind("analyse", 1)];
    this.last = textButton("take the last away", "Take the last part away", () => this.#tell(this.parts.slice(0, -1)));
    this.all = textButton("all of the image", "Analyse all of the image again", () => this.#tell([]));
    this.node = element("div", { class: "pnb-ask", role: "group", "aria-label": "Region", hidden: true },
      this.text, element("div", { class: "pnb-edit-row" }, ...[...this.kinds].reverse()),
      element("div", { class: "pnb-edit-row" }, this.last, this.all));
    hand.on("tool", () => this.show());
    hand.on("sign", () => this.show());
  }

  get parts() {
    return this.store.premises?.regions ?? [];
  }

  /** One more part, from its corners. */
  add(path) {
    this.#tell([...this.parts, { path, include: this.hand.sign === 1 }]);
  }

  #tell(parts) {
    this.link.act({ action: "region", parts });
  }

  show() {
    this.node.hidden = this.hand.tool !== "region";
    if (this.node.hidden) return;
    const { share = 1 } = this.store.premises ?? {};
    this.text.textContent = `Drag a rectangle, or click corners. Analysed: ${(100 * share).toFixed(1)} % of the image.`;
    this.kinds.forEach((button, sign) => button.setAttribute("aria-pressed", String(this.hand.sign === sign)));
    this.last.hidden = this.all.hidden = !this.parts.length;
  }
}
