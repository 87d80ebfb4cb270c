// Pointer and wheel on the canvas: strokes, clicks, moving and zooming the view.

import { Fingers } from "./fingers.mjs";

/** CSS pixels of a turn of the wheel in the units of its event. */
const WHEEL = [1, 30, 300];
const STAYS = 600; // milliseconds after which a finger that stays where it is opens the menu

export class Pointer {
  constructor({ top, store, hand, camera, painter, commands, foresight, probe, notices }) {
    Object.assign(this, { top, store, hand, camera, painter, commands, foresight, probe, notices });
    this.fingers = new Fingers(camera);
    const on = (name, run, options) => top.addEventListener(name, run, options);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", (e) => this.up(e));
    on("pointercancel", () => this.cancel());
    on("pointerleave", () => this.leave());
    // Chromium takes a stroke that ends in motion for a fling, and the next tap, on a button, for its end
    on("touchstart", (e) => { if (!hand.corners) e.preventDefault(); }, { passive: false });
    on("dblclick", (e) => this.twice(e));
    on("contextmenu", (e) => this.menu(e));
    on("wheel", (e) => this.wheel(e), { passive: false });
    on("blur", () => { hand.space = false; });
  }

  get #pointing() {
    return this.hand.tool === "point" && !!this.store.draft;
  }

  /** A finger that stays: not every browser makes a "contextmenu" of it. Tools that draw wait. */
  #stay(event) {
    clearTimeout(this.stay);
    if (!["point", "select"].includes(this.hand.tool)) return;
    this.stay = setTimeout(() => {
      if (this.fingers.stays(event)) this.menu(event);
    }, STAYS);
  }

  menu(event) {
    event.preventDefault();
    if (this.#pointing || !this.store.picture) return;
    this.cancel(false); // what a finger began by staying is no point
    const rect = this.top.getBoundingClientRect(), { width, height } = this.camera.size;
    const x = ((event.clientX - rect.left) * width) / rect.width, y = ((event.clientY - rect.top) * height) / rect.height;
    this.commands.context.open(this.at(event), x, y);
  }

  at(event) {
    return this.camera.at(this.top.getBoundingClientRect(), event);
  }

  down(event) {
    const { hand, foresight } = this;
    if (!this.store.picture || this.commands.context.dismiss()) return event.preventDefault();
    this.top.focus({ preventScroll: true });
    this.top.setPointerCapture?.(event.pointerId);
    event.preventDefault();
    if (event.pointerType === "touch") {
      this.fingers.down(event);
      if (this.fingers.count > 1) return this.cancel(false); // what the first one began is none
      this.#stay(event);
    }
    hand.cross = hand.mark = null;
    const spot = this.at(event);
    if (hand.space || event.button === 1) {
      hand.drag = { x: event.clientX, y: event.clientY };
      return;
    }
    // the right button opens a menu, but sets points while a particle is in the making
    if (event.button !== 0 && !(event.button === 2 && this.#pointing)) return;
    const means = hand.press(spot, event, this.camera.view.scale);
    if (means === "point") foresight.hold(spot, hand.label(hand.stroke));
    if (means === "close") return this.commands.endCorners();
    if (means === "corner") return this.commands.cornered();
    this.painter.paintTop();
  }

  move(event) {
    const { hand } = this;
    if (!this.store.picture) return;
    this.fingers.move(event);
    if (this.fingers.count > 1) return this.fingers.pinch(this.top.getBoundingClientRect());
    hand.cursor = this.at(event);
    if (hand.drag) return this.drag(event);
    if (!hand.stroke) this.foresight.ask();
    else if (hand.stroke.kind !== "point") {
      const events = event.getCoalescedEvents?.() || [];
      for (const e of events.length ? events : [event]) {
        const { x, y } = this.at(e);
        hand.stroke.path.push([x, y]);
      }
    }
    this.notices.showPlace();
    this.probe.ask();
    this.painter.paintTop();
  }

  drag({ clientX, clientY }) {
    const { hand, camera } = this, k = camera.size.width / this.top.getBoundingClientRect().width;
    const { x, y } = hand.drag;
    hand.drag = { x: clientX, y: clientY };
    camera.pan((clientX - x) * k, (clientY - y) * k);
  }

  up(event) {
    const { hand, commands } = this, { stroke } = hand;
    this.fingers.up(event);
    clearTimeout(this.stay);
    if (hand.drag) {
      hand.drag = null;
      return;
    }
    hand.stroke = null;
    this.foresight.release();
    if (!stroke) return;
    const { x, y } = this.at(event);
    if (stroke.kind === "point") commands.placePoint(...stroke.path[0], hand.label(stroke));
    else commands.finish(stroke, [x, y]);
    this.painter.paintTop();
  }

  cancel(all = true) {
    if (all) this.fingers.clear();
    clearTimeout(this.stay);
    this.foresight.release();
    this.hand.stroke = this.hand.drag = null;
    this.painter.paintTop();
  }

  leave() {
    this.hand.leave();
    this.painter.paintTop();
    this.notices.showPlace();
  }

  twice(event) {
    if (this.hand.corners && this.hand.polygon.length) this.commands.endCorners(this.hand.tool !== "measure");
    event.preventDefault();
  }

  wheel(event) {
    const { camera } = this;
    if (document.activeElement !== this.top || !this.store.picture) return; // the notebook scrolls
    event.preventDefault();
    event.stopPropagation();
    const rect = this.top.getBoundingClientRect(), turn = event.deltaY * WHEEL[event.deltaMode];
    const x = ((event.clientX - rect.left) * camera.size.width) / rect.width;
    const y = ((event.clientY - rect.top) * camera.size.height) / rect.height;
    camera.zoom(Math.exp(-Math.min(Math.max(turn, -300), 300) * 0.002), x, y);
  }
}
