
// The scale bar: its ends on the rims of what is drawn, to a part of a pixel; rectangles of a region.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Hand, strokeMeaning } from "../../particle_nb/widgets/js/hand.mjs";
import { rectangle } from "../../particle_nb/widgets/js/regions.mjs";
import { barEnds, levelled } from "../../particle_nb/widgets/js/ruler.mjs";

test("a line that is nearly horizontal becomes so, from left to right", () => {
  assert.deepEqual(levelled([50, 7], [10, 5]), [10, 5, 50, 5]);
  assert.deepEqual(levelled([10, 5], [20, 15]), [10, 5, 20, 15], "45 degrees are meant");
  assert.deepEqual(levelled([12, 90], [10, 5]), [12, 5, 12, 90], "upright");
  assert.deepEqual(levelled([10, 5], [50, 7], true), [10, 5, 50, 7]);
});

const picture = (bar, ground, from, to) => (x) => (x < 0 || x >= 200 ? NaN : x >= from && x <= to ? bar : ground);

test("the ends lie on the rims of the bar, wherever nearby they were drawn", () => {
  for (const [bar, ground] of [[255, 40], [0, 180]]) {
    const grey = picture(bar, ground, 50, 149);
    for (const [a, b] of [[47, 152], [50, 149], [53.4, 146.2]])
      assert.deepEqual(barEnds([a, 9, b, 9], grey), [49.5, 9, 149.5, 9], "100 pixels");
  }
  // half a pixel more at one end, as of a bar that was resampled
  const soft = (x) => (x === 150 ? 148 : picture(255, 40, 50, 149)(x));
  const [, , end] = barEnds([50, 9, 149, 9], soft);
  assert.ok(Math.abs(end - 150.005) < 0.02, String(end));
  assert.deepEqual(barEnds([60.2, 9, 120.7, 9], picture(255, 40, 0, 199)), [60.2, 9, 120.7, 9], "no step: as drawn");
  assert.deepEqual(barEnds([47, 9, 152, 12], picture(255, 40, 50, 149)), [47, 9, 152, 12], "oblique: as drawn");
  const upright = (x, y) => picture(255, 40, 50, 149)(y, x);
  assert.deepEqual(barEnds([9, 47, 9, 152], upright), [9, 49.5, 9, 149.5], "an upright bar");
});

test("a region's rectangle is cut to the image, and a click is its first corner", () => {
  assert.deepEqual(rectangle([30, 90], [-5, 10], { width: 100, height: 50 }), [[-0.5, 10], [30, 10], [30, 49.5], [-0.5, 49.5]]);
  const bench = { scale: 2, radius: 5, chosen: [], draft: null };
  const meant = (kind, last) => strokeMeaning({ kind, path: [[10, 10]] }, last, bench);
  assert.deepEqual(meant("region", [11, 10]), { spot: [10, 10] });
  assert.deepEqual(meant("region", [30, 20]), { part: [[10, 10], [30, 20]] });
  assert.ok(meant("scale", [11, 10]).say);
  assert.deepEqual(meant("scale", [30, 10]).bar, [[10, 10], [30, 10]]);
  const hand = new Hand();
  hand.take("region");
  assert.equal(hand.press({ x: 1, y: 1 }, { button: 0, detail: 1 }, 1), null);
  assert.equal(hand.stroke.kind, "region");
  hand.stroke = null;
  hand.polygon = [[1, 1]];
  assert.equal(hand.press({ x: 30, y: 1 }, { button: 0, detail: 1 }, 1), "corner");
  assert.ok(hand.drop());
});
