import assert from "node:assert/strict";
import { test } from "node:test";
import { barsOf, short, stepOf, summaryOf, unitText } from "../../particle_nb/widgets/js/gallery.mjs";

test("numbers are written with three digits", () => {
  assert.equal(short(0.0123456), "0.0123");
  assert.equal(short(12.345), "12.3");
  assert.equal(short(1234.5), "1235");
  assert.equal(unitText("um"), "µm");
});

test("a card says what is known of its image", () => {
  assert.equal(summaryOf({ state: "new" }), "not opened");
  assert.equal(summaryOf({ state: "failed", message: "no image" }), "no image");
  assert.equal(summaryOf({ state: "proposed", count: 1, d50: 0.5, unit: "um" }), "1 particle, D50 0.5 µm");
  assert.equal(summaryOf({ state: "corrected", count: 0, d50: null, unit: "" }), "0 particles");
});

test("arrows go along rows and end at the ends", () => {
  assert.equal(stepOf("ArrowRight", 0, 4, 10), 1);
  assert.equal(stepOf("ArrowDown", 3, 4, 10), 7);
  assert.equal(stepOf("ArrowDown", 8, 4, 10), 8);
  assert.equal(stepOf("ArrowUp", 2, 4, 10), 2);
  assert.equal(stepOf("End", 2, 4, 10), 9);
  assert.equal(stepOf("x", 2, 4, 10), null);
});

test("bars fill the box side by side, on a logarithmic axis", () => {
  const bars = barsOf([1, 10, 100], [0.25, 0.5]);
  assert.deepEqual(bars.map(([x]) => x), [0, 150]);
  assert.ok(Math.abs(bars[1][3] - 2 * bars[0][3]) < 1e-9);
  assert.ok(bars.every(([, y, , height]) => Math.abs(y + height - 90) < 1e-9));
});
