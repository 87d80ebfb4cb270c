
// The list of particles: sorted and filtered by any column.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/listing.mjs";

const columns = ["area_nm2", "x_A_nm", "aspect_ratio"];
const particle = (id, row, more = {}) => ({ id, row, name: "", label: "", note: "", iou: null, stability: null, ...more });
const some = [
  particle(12, [900, 30, 0.9], { name: "Big one", label: "round", iou: 0.9 }),
  particle(3, [100, 11, 0.5], { note: "see 12", iou: 0.4 }),
  particle(4, [400, 22, null]),
  particle(5, null, { label: "rod" }),
];
const found = (text) => some.filter(g.readQuery(text, columns).test).map((p) => p.id);

test("words are looked for in number, name, class and note; all must be there", () => {
  assert.deepEqual(found(""), [12, 3, 4, 5]);
  assert.deepEqual(found(" 12 "), [12, 3]);
  assert.deepEqual(found("ROUN big"), [12]);
  assert.deepEqual(found("see 12"), [3]);
  assert.deepEqual(found("none"), []);
});

test("comparisons with any column, with or without its unit, with and without spaces", () => {
  assert.deepEqual(found("x_A > 20"), [12, 4]);
  assert.deepEqual(found("x_A_nm>=22 area<900"), [4]);
  assert.deepEqual(found("X_a<=11"), [3]);
  assert.deepEqual(found("iou < 0.5"), [3], "what has no value is no match");
  assert.deepEqual(found("class = round"), [12]);
  assert.deepEqual(found("class != round"), [3, 4, 5]);
  assert.deepEqual(found("id=4"), [4]);
  assert.deepEqual(found("aspect_ratio >= 0.5 round"), [12]);
  assert.deepEqual(found("x_A >"), [12, 3, 4, 5], "still being typed");
  assert.deepEqual(found("x_A > big"), []);
  assert.equal(g.readQuery("volume > 3", columns).unknown, "volume");
});

test("any column sorts; what has no value comes last either way, equals by number", () => {
  const order = (name, down) => g.ordered(some, name, down, columns).map((p) => p.id);
  assert.deepEqual(order("id", false), [3, 4, 5, 12]);
  assert.deepEqual(order("id", true), [12, 5, 4, 3]);
  assert.deepEqual(order("x_A_nm", false), [3, 4, 12, 5]);
  assert.deepEqual(order("x_A_nm", true), [12, 4, 3, 5]);
  assert.deepEqual(order("aspect_ratio", true), [12, 3, 4, 5]);
  assert.deepEqual(order("iou", false), [3, 12, 4, 5]);
  assert.deepEqual(order("class", false), [5, 12, 3, 4]);
  assert.deepEqual(some.map((p) => p.id), [12, 3, 4, 5], "what it was given keeps its order");
});

test("a column is named by its whole name first", () => {
  assert.equal(g.columnNamed("area", ["area_nm2", "area"]), "area");
  assert.equal(g.columnNamed("AREA", ["area_nm2"]), "area_nm2");
  assert.equal(g.columnNamed("are", ["area_nm2"]), null);
});
