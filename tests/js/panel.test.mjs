
// The panel's histogram and list.
import assert from "node:assert/strict";
import { test } from "node:test";

import { between, stepRow } from "../../particle_nb/widgets/js/particles.mjs";
import { binned, nearestFull, stepBin } from "../../particle_nb/widgets/js/sizes.mjs";

test("bars hold the particles that are kept, by the column of the size", () => {
  const p = (id, size, kept = true) => ({ id, kept, row: [0, size] });
  const some = [p(1, 1.5), p(2, 8), p(3, 2), p(4, 1.5, false), { id: 5, kept: true, row: null }, p(6, 99)];
  assert.deepEqual(binned(some, 1, [1, 2, 4, 8]), [[1], [3], [2]]);
});

test("the focus moves between bars that hold something", () => {
  const bins = [[], [1], [], [], [2, 3], [4]];
  assert.deepEqual([0, 2, 3, 9].map((at) => nearestFull(bins, at)), [1, 1, 4, 5]);
  assert.equal(nearestFull([[], []], 1), -1);
  assert.deepEqual(["ArrowLeft", "ArrowRight", "Home", "End"].map((key) => stepBin(bins, 4, key)), [1, 5, 1, 5]);
  assert.equal(stepBin(bins, 1, "ArrowLeft"), undefined);
  assert.equal(stepBin(bins, 1, "x"), undefined);
});

test("Shift takes what lies between, either way; keys move and stop at the ends", () => {
  assert.deepEqual(between([4, 7, 9, 2], 2, 7), [7, 9, 2]);
  assert.deepEqual(between([4, 7, 9, 2], 7, 2), [7, 9, 2]);
  assert.deepEqual(between([4, 7], 99, 7), [4, 7], "from what is not listed: from the top");
  assert.deepEqual(["ArrowUp", "ArrowDown", "Home", "End"].map((key) => stepRow(0, 3, key)), [0, 1, 0, 2]);
  assert.equal(stepRow(2, 3, "ArrowDown"), 2);
  assert.equal(stepRow(-1, 3, "ArrowDown"), 0);
  assert.equal(stepRow(0, 3, "q"), undefined);
});
