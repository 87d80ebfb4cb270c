// Fingers on a canvas: where each of them is, and how two of them move and zoom the view.

import { panBy, zoomAbout } from "./geometry.mjs";

export const STILL = 8; // CSS pixels within which a finger stays where it is

/** What two fingers do that were `before` and are `now`, each [[x, y], [x, y]]: how far their middle
 *  moved, by which factor their distance grew, and where their middle is. */
export function pinched(before, now) {
  const middle = ([[a, b], [c, d]]) => [(a + c) / 2, (b + d) / 2];
  const apart = ([[a, b], [c, d]]) => Math.max(Math.hypot(c - a, d - b), 1);
  const [x0, y0] = middle(before), [x, y] = middle(now);
  return { dx: x - x0, dy: y - y0, factor: apart(now) / apart(before), x, y };
}

export class Fingers {
  constructor(camera) {
    this.camera = camera;
    this.places = new Map(); // where each finger is, by its pointer
  }

  get count() {
    return this.places.size;
  }

  down({ pointerId, clientX, clientY }) {
    this.places.set(pointerId, [clientX, clientY]);
    this.#hold();
  }

  move({ pointerId, clientX, clientY }) {
    if (this.places.has(pointerId)) this.places.set(pointerId, [clientX, clientY]);
  }

  up({ pointerId }) {
    if (this.places.delete(pointerId)) this.#hold();
  }

  clear() {
    this.places.clear();
  }

  /** Whether there is one finger, and it is still where `event` saw it. */
  stays({ pointerId, clientX, clientY }) {
    const [x, y] = this.places.get(pointerId) ?? [Infinity, 0];
    return this.count === 1 && Math.hypot(x - clientX, y - clientY) < STILL;
  }

  /** Where the fingers took hold of which view. */
  #hold() {
    this.grip = { from: [...this.places.values()], view: this.camera.view };
  }

  /** Two fingers: the view moves with their middle, and zooms with their distance. */
  pinch(rect) {
    const { from, view } = this.grip, { dx, dy, factor, x, y } = pinched(from, [...this.places.values()]);
    const k = this.camera.size.width / rect.width;
    // from where they took hold: a view stands on whole pixels, and parts of them would be lost
    const moved = panBy(view, dx * k, dy * k);
    this.camera.look(zoomAbout(moved, factor, (x - rect.left) * k, (y - rect.top) * k, ...this.camera.limits()));
  }
}
