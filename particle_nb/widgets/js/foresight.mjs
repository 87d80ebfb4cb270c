// Asking the kernel ahead of the hand: what a click would give, and the grey value under the cursor.

import { onImage } from "./geometry.mjs";
import { readDraft } from "./store.mjs";

const LATER = 30; // milliseconds after which a preview that had to wait is tried again
const HELD = 15; // milliseconds that a button is held before its click is foreseen

/** What a new draft starts with; one that is in the making keeps its own. The kernel decides from
 *  the view whether the part that is seen gets its own encoding. */
export function aimOf({ draft }, { target }, camera) {
  return { view: camera.visible(), ...(draft || target === "best" ? {} : { target }) };
}

/** One request is in flight; what the cursor passed in the meantime is never asked. */
export class Foresight {
  constructor({ root, store, hand, camera, link, painter }) {
    Object.assign(this, { root, store, hand, camera, link, painter });
    this.on = true;
    this.sent = 0;
    this.seen = 0;
    this.busy = false;
    this.wanted = null;
    this.last = null; // what was asked last
    this.turned = () => {}; // told whether previews are on
  }

  /** A preview of what a click at the cursor would give. */
  ask() {
    const { hand, store } = this;
    if (!this.on || hand.tool !== "point" || !hand.cursor || hand.space || store.draft?.busy) return;
    if (onImage(hand.cursor, store.picture)) this.foresee(hand.cursor, hand.sign);
    else hand.preview = null;
  }

  /** The button went down: asked while a finger holds it, the model has often answered when it goes
   *  up; a click without any such time asks only once. */
  hold(spot, label) {
    this.early = setTimeout(() => this.foresee(spot, label), HELD);
  }

  release() {
    clearTimeout(this.early);
  }

  /** Ask what a click would give; the kernel keeps the answer for the click itself. */
  foresee({ x, y }, label) {
    if (!onImage({ x, y }, this.store.picture)) return;
    const about = [x, y, label, this.hand.target, this.store.seq, this.camera.view.scale].join();
    if (about === this.last) return;
    this.last = about;
    this.wanted = { x, y, label };
    this.next();
  }

  next() {
    if (this.busy || !this.wanted || this.link.lost) return;
    if (this.link.acting) {
      setTimeout(() => this.next(), LATER);
      return;
    }
    const line = { ...this.wanted, ...aimOf(this.store, this.hand, this.camera) };
    this.wanted = null;
    this.busy = true;
    this.sent++;
    this.link.request("hover", { line });
  }

  receive(message, buffers) {
    this.busy = false;
    const { hand } = this;
    if (this.on && hand.tool === "point" && hand.cursor && message.seq === this.store.seq) {
      hand.preview = readDraft(message.draft, buffers);
      this.painter.paintTop(() => { this.root.dataset.hoverSeq = ++this.seen; });
    }
    this.next();
  }

  fail() {
    this.busy = false;
    this.hand.preview = null;
    this.painter.paintTop();
    this.next();
  }

  toggle() {
    this.on = !this.on;
    this.hand.preview = null;
    this.turned(this.on);
    this.painter.paintTop();
  }
}

/** Grey value under the cursor: known here for 8-bit images, asked from the kernel for others. */
export class Probe {
  constructor({ store, hand, link, show }) {
    Object.assign(this, { store, hand, link, show });
    this.sent = 0;
    this.busy = false;
    this.value = null;
  }

  ask() {
    const { info, picture } = this.store, { cursor } = this.hand;
    if (!info || info.exact || this.busy || !cursor) return;
    const x = Math.round(cursor.x), y = Math.round(cursor.y);
    if (this.value && this.value.x === x && this.value.y === y) return;
    if (x < 0 || y < 0 || x >= picture.width || y >= picture.height) return;
    this.busy = true;
    this.sent++;
    this.link.request("probe", { x, y });
  }

  receive(message) {
    this.busy = false;
    this.value = message;
    this.show();
    this.ask();
  }

  /** The value of a pixel as a text, "…" while it is not known. */
  text(x, y) {
    const { info, picture } = this.store;
    if (info.exact) return picture.values(x, y).join(" ");
    return this.value && this.value.x === x && this.value.y === y ? this.value.text : "…";
  }
}
