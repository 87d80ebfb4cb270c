// Levels of the image.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/picture.mjs";

test("halving is the mean of 2 x 2 and repeats an odd last line", () => {
  const half = g.halve(Uint8Array.from([0, 4, 10, 8, 4, 20]), 3, 2);
  assert.deepEqual([half.width, half.height, ...half.data], [2, 1, 4, 15]);
  const rgb = g.halve(Uint8Array.from([0, 10, 20, 4, 30, 40]), 2, 1, 3);
  assert.deepEqual([...rgb.data], [2, 20, 30]);
});
