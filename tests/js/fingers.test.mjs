
// Fingers on the picture.
import assert from "node:assert/strict";
import { test } from "node:test";

import { pinched } from "../../particle_nb/widgets/js/fingers.mjs";

test("two fingers move the view with their middle and zoom with their distance", () => {
  assert.deepEqual(pinched([[0, 0], [10, 0]], [[5, 2], [15, 2]]), { dx: 5, dy: 2, factor: 1, x: 10, y: 2 });
  assert.deepEqual(pinched([[0, 0], [10, 0]], [[-5, 0], [15, 0]]), { dx: 0, dy: 0, factor: 2, x: 5, y: 0 });
  assert.equal(pinched([[3, 3], [3, 3]], [[3, 3], [3, 3]]).factor, 1, "fingers on one spot");
});
