// What the hand holds and has begun: the tool, strokes, corners, the crosshair. No document here.

import { boxOf, pathLength, thin } from "./geometry.mjs";
import { Signals } from "./signals.mjs";

export const TARGETS = ["best", "whole", "feature"];
const NEAR = 8; // CSS pixels within which a click means the same place
const TWICE = 500; // milliseconds within which two clicks are a double click

/** Emits "tool", "sign", "radius", "target" and "space" when one of them is another. */
export class Hand extends Signals {
  constructor() {
    super();
    this.tool = "point";
    this.sign = 1; // of the next point: 1 inside, 0 outside
    this.target = "best"; // which candidate a new draft offers first
    this.offered = "best"; // the same of the draft that is in the making
    this.radius = 12; // of brush and eraser, in image pixels
    this.stroke = null; // {kind, path, ...} while a button is held
    this.polygon = []; // corners that are set, of a polygon or of what is measured
    this.measured = null; // {path, closed} that was measured last
    this.bar = null; // the ends of a scale bar, [x0, y0, x1, y1]
    this.mark = null; // the first of two corners set by a key
    this.cross = null; // the crosshair of the arrow keys
    this.crossed = null; // where Enter used it last: the arrows go on from there
    this.cursor = null; // where the pointer is
    this.preview = null; // the draft that a click would give
    this.asked = new Map(); // points that the kernel has not answered yet, by request
    this.drag = null; // where the view was taken hold of
    this.space = false; // whether the space bar is down
    this.closed = null; // where and when a polygon was closed by a click
  }

  take(tool) {
    this.tool = tool;
    this.crossed = null;
    this.stroke = this.mark = this.preview = this.measured = this.bar = null;
    this.polygon = [];
    this.emit("tool");
  }

  turnSign() {
    this.sign = 1 - this.sign;
    this.emit("sign");
  }

  setRadius(radius) {
    this.radius = radius;
    this.emit("radius");
  }

  offer(target) {
    this.offered = target;
    this.emit("target");
  }

  grip(space) {
    this.space = space;
    this.emit("space");
  }

  /** The pointer left the canvas. */
  leave() {
    this.cursor = this.preview = null;
  }

  /** Let go of what was begun; whether there was anything. */
  drop() {
    const any = !!(this.stroke || this.polygon.length || this.mark || this.measured || this.bar);
    this.stroke = this.mark = this.measured = this.bar = null;
    this.polygon = [];
    return any;
  }

  /** A button went down at a position: what that means, "point", "corner", "close" or null. */
  press(spot, event, scale) {
    const here = [spot.x, spot.y];
    this.preview = this.crossed = null;
    if (this.tool === "point") {
      this.stroke = { kind: "point", path: [here], negative: event.altKey || event.button === 2 };
      return "point";
    }
    // a region's first corner may become a rectangle
    if (this.corners && (this.tool !== "region" || this.polygon.length)) return this.#click(here, event, scale);
    this.stroke = { kind: this.tool, path: [here], add: event.shiftKey || event.ctrlKey || event.metaKey };
    return null;
  }

  /** Whether the tool sets corners. */
  get corners() {
    return this.tool === "polygon" || this.tool === "measure" || this.tool === "region";
  }

  #click(here, event, scale) {
    if (event.detail > 1) return null;
    const { closed } = this, { clientX: x, clientY: y, timeStamp: at } = event;
    // the second half of a double click on the first corner begins no other polygon
    if (!this.polygon.length && closed && at - closed.at < TWICE && Math.hypot(x - closed.x, y - closed.y) < NEAR)
      return null;
    const means = this.corner(here, scale);
    if (means === "close") this.closed = { at, x, y };
    return means;
  }

  /** One more corner; "close" if it is the first one again, else "corner". */
  corner(here, scale) {
    const [first] = this.polygon;
    if (this.polygon.length > 2 && Math.hypot(first[0] - here[0], first[1] - here[1]) * scale < NEAR) return "close";
    this.measured = null;
    this.polygon.push(here);
    return "corner";
  }

  /** The corners become what was measured, as a closed outline or as a line. */
  measure(closed) {
    this.measured = { path: this.polygon, closed };
    this.polygon = [];
  }

  /** Label of the point that is being set. */
  label(stroke) {
    return stroke.negative ? 0 : this.sign;
  }
}

/** The next of the targets in their turn. */
export function nextTarget(target) {
  return TARGETS[(TARGETS.indexOf(target) + 1) % TARGETS.length];
}

/** A brush radius times a factor: at least a pixel more or less, from 1 to 400. */
export function scaledRadius(radius, factor) {
  const wanted = radius * factor;
  return Math.min(Math.max(factor < 1 ? Math.floor(wanted) : Math.ceil(wanted), 1), 400);
}

/** What a stroke means that ends at `last`: {act, aimed} is an action (`aimed`: for a new draft),
 *  {pick}, {within} and {around} select, {bar} is a scale bar, {part} a rectangle of a region, {spot}
 *  its first corner, {say} is a word to the person. `bench` has scale, radius, chosen
 *  (numbers of the selected) and draft. */
export function strokeMeaning(stroke, last, { scale, radius, chosen, draft }) {
  const [first] = stroke.path, { add } = stroke;
  const path = thin([...stroke.path, last], Math.max(0.5, 1.5 / scale));
  const across = Math.hypot(last[0] - first[0], last[1] - first[1]) * scale;
  const drawn = pathLength(path) * scale;
  const id = !draft && chosen.length === 1 ? { id: chosen[0] } : {};
  switch (stroke.kind) {
    case "scale":
      return across < 4 ? { say: "drag from one end of the bar to the other" } : { bar: [first, last], free: add };
    case "region":
      return across < 4 ? { spot: first } : { part: [first, last] };
    case "select":
      return across < 4 ? { pick: first, add } : { within: boxOf(first, last), add };
    case "lasso":
      return drawn < 10 ? { say: "draw around particles with the button held" } : { around: path, add };
    case "box":
      if (across < 4) return { say: "drag from one corner of the box to the other" };
      return { act: { action: "box", box: [...first, ...last] }, aimed: true };
    case "sketch":
      if (drawn < 10) return { say: "draw around the particle with the button held" };
      return { act: { action: "sketch", path }, aimed: true };
    case "split":
      if (drawn < 4) return { say: "draw a stroke across the particle" };
      return { act: { action: "split", path, ...(chosen.length ? { ids: chosen } : {}) } };
    case "brush":
      return { act: { action: "brush", path, radius, ...id } };
    case "eraser":
      return { act: { action: "erase", path, radius, ...id } };
  }
  return {};
}

/** A selection after a click on a particle (or on none), which adds or takes away if `add`. */
export function picked(chosen, found, add) {
  const ids = new Set(add ? chosen : []);
  if (found != null && !(add && ids.delete(found))) ids.add(found);
  return [...ids];
}
