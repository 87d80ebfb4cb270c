
// What the hand holds: strokes, corners, radii, targets, and what letting go means.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/hand.mjs";

const event = (more = {}) => ({
  button: 0, detail: 1, timeStamp: 0, clientX: 0, clientY: 0,
  altKey: false, shiftKey: false, ctrlKey: false, metaKey: false, ...more,
});
const bench = (more = {}) => ({ scale: 1, radius: 12, chosen: [], draft: null, ...more });

test("taking another tool lets go of what was begun, and says so", () => {
  const hand = new g.Hand(), told = [];
  hand.on("tool", () => told.push(hand.tool));
  hand.take("box");
  hand.press({ x: 3, y: 4 }, event(), 1);
  assert.deepEqual(hand.stroke, { kind: "box", path: [[3, 4]], add: false });
  hand.mark = [1, 1];
  hand.take("polygon");
  assert.deepEqual([hand.stroke, hand.mark, hand.polygon], [null, null, []]);
  hand.polygon.push([1, 2]);
  assert.ok(hand.drop());
  assert.ok(!hand.drop());
  assert.deepEqual(told, ["box", "polygon"]);
});

test("a point is outside by Alt, by the right button or by the sign", () => {
  const hand = new g.Hand(), label = (more) => { hand.press({ x: 0, y: 0 }, event(more), 1); return hand.label(hand.stroke); };
  assert.equal(hand.press({ x: 0, y: 0 }, event(), 1), "point");
  assert.deepEqual([label({}), label({ altKey: true }), label({ button: 2 })], [1, 0, 0]);
  hand.turnSign();
  assert.deepEqual([label({}), label({ altKey: true })], [0, 0]);
});

test("a polygon closes by a click on its first corner, and a double click begins no other", () => {
  const hand = new g.Hand(), press = (x, y, more = {}) => hand.press({ x, y }, event({ clientX: x, clientY: y, ...more }), 1);
  hand.take("polygon");
  for (const [x, y] of [[0, 0], [20, 0], [20, 20]]) assert.equal(press(x, y), "corner");
  assert.equal(press(9, 0), "corner", "8 pixels away is another corner");
  assert.equal(press(7, 0, { timeStamp: 1000 }), "close");
  hand.polygon = []; // what closing does
  assert.equal(press(5, 0, { timeStamp: 1400 }), null);
  assert.equal(press(50, 50, { detail: 2, timeStamp: 1450 }), null);
  assert.deepEqual(hand.polygon, []);
  press(50, 50, { timeStamp: 1450 });
  press(5, 0, { timeStamp: 1500 });
  assert.deepEqual(hand.polygon, [[50, 50], [5, 0]]);
  // seen from afar fewer image pixels are as near
  hand.polygon = [[0, 0], [20, 0], [20, 20]];
  assert.equal(hand.press({ x: 7, y: 0 }, event({ clientX: 70, clientY: 90, timeStamp: 9000 }), 10), "corner");
});

test("brushes grow and shrink by a pixel at least, from 1 to 400", () => {
  const radii = (from, factor, n) => Array.from({ length: n }, () => (from = g.scaledRadius(from, factor)));
  assert.deepEqual(radii(1, 1.25, 4), [2, 3, 4, 5]);
  assert.deepEqual(radii(5, 0.8, 5), [4, 3, 2, 1, 1]);
  assert.equal(g.scaledRadius(390, 1.25), 400);
});

test("targets come in turn", () => {
  assert.deepEqual(["best", "whole", "feature", undefined].map(g.nextTarget), ["whole", "feature", "best", "best"]);
});

test("what a stroke means depends on its tool, its length on the screen and what is selected", () => {
  const stroke = (kind, more = {}) => ({ kind, path: [[10, 20]], ...more });
  const of = (kind, last, more, held) => g.strokeMeaning(stroke(kind, more), last, bench(held));
  assert.deepEqual(of("select", [12, 21], { add: true }), { pick: [10, 20], add: true });
  assert.deepEqual(of("select", [4, 30], { add: false }), { within: [4, 20, 10, 30], add: false });
  assert.ok("within" in of("select", [12, 21], {}, { scale: 4 }), "twice as near it is a frame");
  assert.ok(of("box", [12, 20]).say);
  assert.deepEqual(of("box", [50, 2]), { act: { action: "box", box: [10, 20, 50, 2] }, aimed: true });
  assert.ok(of("sketch", [13, 20]).say);
  assert.equal(of("sketch", [40, 20]).aimed, true);
  assert.ok(of("lasso", [13, 20]).say);
  assert.deepEqual(of("lasso", [40, 20], { add: true }), { around: [[10, 20], [40, 20]], add: true });
  assert.ok(of("split", [12, 20]).say);
  assert.deepEqual(of("split", [40, 20], {}, { chosen: [3, 5] }).act, { action: "split", path: [[10, 20], [40, 20]], ids: [3, 5] });
  assert.ok(!("ids" in of("split", [40, 20]).act));
  assert.deepEqual(of("brush", [10, 20]).act, { action: "brush", path: [[10, 20], [10, 20]], radius: 12 });
  assert.equal(of("eraser", [40, 20], {}, { chosen: [3] }).act.id, 3);
  assert.equal(of("eraser", [40, 20]).act.action, "erase");
  assert.ok(!("id" in of("brush", [40, 20], {}, { chosen: [3], draft: {} }).act), "the draft is meant");
  assert.ok(!("id" in of("brush", [40, 20], {}, { chosen: [3, 4] }).act), "which of the two?");
});

test("a click selects one, with Shift it adds or takes away", () => {
  assert.deepEqual(g.picked([1, 2], 3, false), [3]);
  assert.deepEqual(g.picked([1, 2], undefined, false), []);
  assert.deepEqual(g.picked([1, 2], 3, true), [1, 2, 3]);
  assert.deepEqual(g.picked([1, 2], 2, true), [1]);
  assert.deepEqual(g.picked([1, 2], undefined, true), [1, 2]);
});

test("what is measured is a line or, by its first corner again, an outline; the next begins anew", () => {
  const hand = new g.Hand();
  hand.take("measure");
  for (const here of [[0, 0], [30, 0], [30, 40]]) assert.equal(hand.corner(here, 1), "corner");
  hand.measure(false);
  assert.deepEqual([hand.measured, hand.polygon], [{ path: [[0, 0], [30, 0], [30, 40]], closed: false }, []]);
  hand.corner([5, 5], 1);
  assert.equal(hand.measured, null);
  hand.corner([50, 5], 1);
  assert.equal(hand.corner([6, 5], 1), "corner", "two corners are no outline");
  assert.equal(hand.corner([6, 6], 1), "close");
  hand.measure(true);
  assert.ok(hand.drop());
  assert.equal(hand.measured, null);
});
