// What a person can tell the annotator to do, by button, key or pointer.

import { aimOf } from "./foresight.mjs";
import { measureText } from "./format.mjs";
import { onImage, thin } from "./geometry.mjs";
import { rectangle } from "./regions.mjs";
import { nextTarget, picked, scaledRadius, strokeMeaning } from "./hand.mjs";

const OFFERED = {
  best: "offered first: the best",
  whole: "offered first: the whole particle",
  feature: "offered first: the feature on its surface",
};

/** Every method without an underscore is the name of a command, as keys and buttons call it. */
export class Commands {
  constructor({ store, hand, camera, link, painter, foresight, notices, help }) {
    Object.assign(this, { store, hand, camera, link, painter, foresight, notices, help });
    this.queue = "mask"; // what `doubtful` goes to: masks, or classes
    this.ruler = this.regions = null; // their panels, which need the commands too
    this.classed = () => {}; // told when a class was given
    this.context = null; // the menu, which needs the commands first
  }

  // ------------------------------------------------------------------------------ the draft

  commit() {
    if (this.hand.corners && this.hand.polygon.length) return this.endCorners(this.hand.tool !== "measure");
    if (this.hand.bar) return this.ruler.apply();
    this.link.act({ action: "commit" });
  }

  another() {
    if (this.store.draft) this.commit();
    this.take("point");
  }

  /** One thing less: the error, then what was begun, the draft, the help, the selection, the crosshair. */
  cancel() {
    const { hand, store } = this;
    this.notices.forgive();
    if (hand.drop()) this.#dropped();
    else if (store.draft) this.link.act({ action: "cancel" });
    else if (this.help.shown) this.toggleHelp(false);
    else if (store.selection.size) this.select([]);
    else if (hand.cross) {
      hand.cross = null;
      this.painter.paintTop();
    }
  }

  #dropped() {
    this.ruler.found = null;
    this.ruler.show();
    this.painter.paintTop();
  }

  nextCandidate() {
    const { draft } = this.store;
    if (!draft || draft.candidates.length < 2) return this.notices.say("there is no other candidate");
    const choice = (draft.choice + 1) % draft.candidates.length;
    draft.choice = choice; // shown at once, told to the kernel
    this.painter.paintTop();
    this.link.act({ action: "candidate", choice });
  }

  nextTarget() {
    this.aimAt(nextTarget(this.hand.offered));
  }

  /** Which candidate comes first: of this draft, and of those that follow. */
  aimAt(target) {
    this.hand.target = target;
    this.hand.offer(target);
    this.hand.preview = null;
    if (this.store.draft) this.link.act({ action: "target", target });
    else this.notices.say(OFFERED[target]);
    this.foresight.ask();
  }

  turnSign() {
    this.hand.turnSign();
    const { sign, tool } = this.hand;
    if (tool === "region") return this.notices.say(sign ? "next part: analysed" : "next part: left out");
    this.notices.say(`next point: ${sign ? "inside" : "outside"} the particle`);
    this.foresight.ask();
  }

  placePoint(x, y, label) {
    const id = this.link.act({ action: "point", x, y, label, ...this.#aim() });
    // a model that is being loaded takes seconds: the click must not look lost meanwhile
    if (this.link.pending.has(id)) this.hand.asked.set(id, [x, y, label]);
    this.painter.paintTop();
  }

  #aim() {
    return aimOf(this.store, this.hand, this.camera);
  }

  // -------------------------------------------------------------------------------- the hand

  take(tool) {
    this.hand.take(tool);
  }

  scaleRadius(factor) {
    this.hand.setRadius(scaledRadius(this.hand.radius, factor));
    this.notices.say(`brush radius ${this.hand.radius} px`);
    this.painter.paintTop();
  }

  /** The corners are set: a polygon is closed, what is measured may be a line. */
  endCorners(closed = true) {
    if (this.hand.tool !== "measure") return this.#closePolygon();
    this.hand.measure(closed);
    this.#read();
    this.painter.paintTop();
  }

  /** Say what is measured so far. */
  #read() {
    const { polygon, measured } = this.hand, { path, closed } = measured ?? { path: polygon, closed: false };
    const text = measureText(path, closed, this.store.info.pixel);
    if (text) this.notices.say(text);
  }

  /** One more corner at a position. */
  corner(here) {
    if (this.hand.corner(here, this.camera.view.scale) === "close") this.endCorners();
    else this.cornered();
  }

  cornered() {
    if (this.hand.tool === "measure") this.#read();
    this.painter.paintTop();
  }

  #closePolygon() {
    const path = thin(this.hand.polygon, 0.25);
    this.hand.polygon = [];
    if (path.length < 3) this.notices.fail("A polygon needs three corners.");
    else if (this.hand.tool === "region") this.regions.add(path);
    else this.link.act({ action: "polygon", path });
    this.painter.paintTop();
  }

  back() {
    if (!this.hand.polygon.length) return this.onSelected("delete");
    this.hand.polygon.pop();
    this.painter.paintTop();
  }

  hold(space) {
    this.hand.grip(space);
  }

  /** Do what a stroke means that ends at `last`. */
  finish(stroke, last) {
    const { hand, store } = this;
    const bench = { scale: this.camera.view.scale, radius: hand.radius, chosen: store.chosen, draft: store.draft };
    const { act, aimed, say, pick, within, around, add, bar, free, part, spot } = strokeMeaning(stroke, last, bench);
    if (bar) this.ruler.drawn(...bar, free);
    else if (part) this.regions.add(rectangle(...part, store.picture));
    else if (spot) this.corner(spot);
    else if (say) this.notices.say(say);
    else if (act) this.link.act(aimed ? { ...act, ...this.#aim() } : act);
    else if (pick) this.select(picked(store.chosen, store.pick(...pick)?.id, add));
    else if (within || around) {
      const found = within ? store.within(within) : store.around(around);
      this.select([...new Set([...(add ? store.chosen : []), ...found])]);
    }
  }

  moveCross(dx, dy, step) {
    const { hand, camera } = this, { picture } = this.store;
    const [x0, y0, x1, y1] = camera.visible(), by = step / camera.view.scale;
    const from = hand.cross ?? hand.crossed ?? { x: (x0 + x1) / 2, y: (y0 + y1) / 2 };
    hand.cross = {
      x: Math.min(Math.max(from.x + dx * by, 0), picture.width - 1),
      y: Math.min(Math.max(from.y + dy * by, 0), picture.height - 1),
    };
    camera.follow(hand.cross, 20);
    hand.cursor = hand.cross;
    this.notices.whisper(`x ${hand.cross.x.toFixed(0)}, y ${hand.cross.y.toFixed(0)}`);
    this.notices.showPlace();
    this.foresight.ask();
    this.painter.paintTop();
  }

  /** A click at the crosshair, or the end of what is in the making. */
  enter() {
    const { hand, store } = this;
    if (!hand.cross) return this.commit();
    const { x, y } = hand.cross, here = [x, y];
    hand.crossed = hand.cross;
    hand.cross = null;
    if (hand.tool === "point") return this.placePoint(x, y, hand.sign);
    if (hand.tool === "select") return this.select(picked([], store.pick(x, y)?.id, false));
    if (hand.tool === "brush" || hand.tool === "eraser") return this.finish({ kind: hand.tool, path: [here] }, here);
    if (hand.corners) return this.corner(here);
    if (hand.mark) {
      const first = hand.mark;
      hand.mark = null;
      return this.finish({ kind: hand.tool, path: [first, here] }, here);
    }
    // the other tools take two corners: the first Enter sets one, the second the other
    hand.mark = here;
    this.notices.say("first corner set; move the crosshair and press Enter again");
    this.painter.paintTop();
  }

  // --------------------------------------------------------------------------- the particles

  /** Select particles by their numbers and tell the kernel. */
  select(ids) {
    this.store.select(ids);
    this.link.request("select", { ids: this.store.chosen });
  }

  selectAll() {
    this.select(this.store.kept().map((p) => p.id));
  }

  refine() {
    const { only } = this.store;
    if (!only) return this.notices.fail("Select one particle to refine it.");
    this.link.act({ action: "refine", id: only.id });
    this.take("point");
  }

  onSelected(action) {
    if (this.#anySelected("No particle is selected; click one with the select tool (A) or in the list."))
      this.link.act({ action, ids: this.store.chosen });
  }

  #anySelected(otherwise = "No particle is selected.") {
    if (!this.store.selection.size) this.notices.fail(otherwise);
    return this.store.selection.size > 0;
  }

  /** Turn "visible" or "locked" of the selected; "visible" without a selection means all masks. */
  toggle(field) {
    const { store } = this;
    if (field === "visible" && !store.selection.size) return this.hideAll();
    if (!this.#anySelected()) return;
    this.setField(field, !store.chosen.every((id) => store.particles.get(id)[field]));
  }

  hideAll() {
    const { style } = this.painter;
    style.hideAll = !style.hideAll;
    this.notices.say(style.hideAll ? "all masks are hidden; V shows them again" : "all masks are shown");
    this.notices.showLegend();
    this.painter.paint();
  }

  copy() {
    if (this.#anySelected()) this.link.request("copy", { ids: this.store.chosen });
  }

  /** Put what was copied at the cursor, or in the middle of what is seen. */
  paste(spot = this.hand.cursor) {
    const [x0, y0, x1, y1] = this.camera.visible();
    const { x, y } = spot && onImage(spot, this.store.picture) ? spot : { x: (x0 + x1) / 2, y: (y0 + y1) / 2 };
    this.link.request("paste", { x, y });
  }

  /** Copies a little aside, so that both are seen. */
  duplicate() {
    const by = Math.max(1, Math.round(12 / this.camera.view.scale));
    if (this.#anySelected()) this.link.act({ action: "duplicate", ids: this.store.chosen, shift: [by, by] });
  }

  setField(field, value) {
    if (this.#anySelected()) this.link.act({ action: "set", ids: this.store.chosen, [field]: value });
  }

  doubtful(after = this.store.chosen[0] ?? null) {
    this.link.request("next", { after, ...(this.queue === "class" ? { by: "class" } : {}) });
  }

  /** Those that a class is given to: the selected, else what lies under the cursor. */
  #named() {
    const { store, hand } = this;
    if (store.selection.size) return store.chosen;
    const spot = hand.cross ?? hand.cursor, found = spot && store.pick(spot.x, spot.y);
    return found ? [found.id] : [];
  }

  /** Give the class at a key, 1 to 9, or none (0). */
  classify(key) {
    const ids = this.#named();
    if (!ids.length) return this.notices.fail("Select particles, or point at one, to give them a class.");
    if (key) this.link.request("classify", { ids, key });
    else this.link.act({ action: "classify", ids, label: "" });
    this.#afterClass(ids, key ? this.store.names[key - 1] ?? `class ${key}` : "no class");
  }

  giveClass(label) {
    const ids = this.#named();
    if (!ids.length) return this.notices.fail("Select particles, or point at one, to give them a class.");
    this.link.act({ action: "classify", ids, label });
    this.#afterClass(ids, label);
  }

  #afterClass(ids, name) {
    const what = ids.length === 1 ? `particle ${ids[0]}` : `${ids.length} particles`;
    this.notices.say(`${what}: ${name}`);
    this.classed();
    if (this.queue === "class") this.doubtful(null);
  }

  judge(action) {
    if (this.store.selection.size) this.link.act({ action, ids: this.store.chosen });
    this.doubtful();
  }

  // ----------------------------------------------------------------------- history and view

  undo() {
    this.link.request("undo");
  }

  redo() {
    this.link.request("redo");
  }

  save() {
    this.link.request("save");
  }

  channel(step) {
    this.link.request("channel", { step });
  }

  fit() {
    this.camera.fit();
  }

  zoom(factor) {
    this.camera.zoom(factor);
  }

  oneToOne() {
    this.camera.zoom(1 / this.camera.view.scale);
  }

  pan(dx, dy) {
    this.camera.pan(dx, dy);
  }

  togglePreview() {
    this.foresight.toggle();
  }

  toggleHelp(show) {
    this.help.toggle(show);
  }

  /** The menu of the keyboard: at the crosshair, else in the middle. */
  menu() {
    const { hand, camera } = this, { view, size } = camera;
    const spot = hand.cross ?? camera.at({ left: 0, top: 0, ...size }, { clientX: size.width / 2, clientY: size.height / 2 });
    this.context.open(spot, (spot.x + 0.5 - view.x) * view.scale, (spot.y + 0.5 - view.y) * view.scale);
  }
}
