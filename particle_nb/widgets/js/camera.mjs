// The view: which part of the image lies where on the screen.

import { clampView, clientToImage, fitView, panBy, snapView, visibleBox, zoomAbout } from "./geometry.mjs";
import { Signals } from "./signals.mjs";

/** Emits "moved" when it looks elsewhere. */
export class Camera extends Signals {
  constructor() {
    super();
    this.image = null; // anything with a width and a height
    this.view = { scale: 1, x: 0, y: 0 };
    this.size = { width: 1, height: 1 }; // of the canvas in CSS pixels
    this.ratio = 1; // device pixels to a CSS pixel
    this.fitted = false;
  }

  /** The canvas got another size: the middle of what is seen stays in its middle. */
  resize(width, height, ratio) {
    const x = this.view.x + this.size.width / this.view.scale / 2;
    const y = this.view.y + this.size.height / this.view.scale / 2;
    this.size = { width, height };
    this.ratio = ratio;
    if (!this.image) return;
    const kept = this.fitted ? fitView(this.image, this.size) : this.#about(x, y, this.view.scale);
    this.view = snapView(kept, ratio);
  }

  #about(x, y, scale) {
    return { scale, x: x - this.size.width / scale / 2, y: y - this.size.height / scale / 2 };
  }

  look(view, fitted = false) {
    this.view = snapView(clampView(view, this.image, this.size), this.ratio);
    this.fitted = fitted;
    this.emit("moved");
  }

  lookAt(x, y, scale = this.view.scale) {
    this.look(this.#about(x, y, scale));
  }

  /** Show a box with room around it; never from farther away than now. */
  approach({ row, col, width, height }) {
    const close = Math.min(this.size.width / width, this.size.height / height) / 4;
    this.lookAt(col + width / 2, row + height / 2, Math.min(Math.max(close, this.view.scale), this.limits()[1]));
  }

  /** Move only if a position is not seen. */
  reveal(x, y) {
    const [x0, y0, x1, y1] = this.visible();
    if (x < x0 || x > x1 || y < y0 || y > y1) this.lookAt(x, y);
  }

  /** Move just so far that a position is no nearer to the rim than `room` CSS pixels. */
  follow({ x, y }, room) {
    const off = (v, most) => (v < room ? v - room : v > most - room ? v - most + room : 0);
    const dx = off((x + 0.5 - this.view.x) * this.view.scale, this.size.width);
    const dy = off((y + 0.5 - this.view.y) * this.view.scale, this.size.height);
    if (dx || dy) this.pan(-dx, -dy);
  }

  fit() {
    if (this.image) this.look(fitView(this.image, this.size), true);
  }

  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    if (this.image) this.look(zoomAbout(this.view, factor, x, y, ...this.limits()));
  }

  pan(dx, dy) {
    this.look(panBy(this.view, dx, dy));
  }

  /** Least and greatest scale. */
  limits() {
    return [Math.min(fitView(this.image, this.size).scale / 2, 1), 64];
  }

  visible() {
    return visibleBox(this.view, this.image, this.size);
  }

  /** The image position under an event, `rect` being where the canvas lies on the screen. */
  at(rect, { clientX, clientY }) {
    return clientToImage(this.view, rect, this.size, clientX, clientY);
  }
}
