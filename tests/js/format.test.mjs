// Numbers as a person reads them.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/format.mjs";

const near = (a, b, tolerance = 1e-9) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("scale bars are round and as long as they say", () => {
  for (const scale of [0.02, 0.3, 1, 7, 63]) {
    const { length, pixels } = g.scaleBar(0.31, scale, 160);
    assert.ok(pixels <= 160 && pixels > 60, `${pixels}`);
    near(pixels, (length / 0.31) * scale);
    assert.ok([1, 2, 5].some((d) => Math.abs(length / 10 ** Math.floor(Math.log10(length * 1.0001)) - d) < 1e-6));
  }
});

test("lengths take the unit that reads well", () => {
  assert.equal(g.formatLength(0.31, "um"), "310 nm");
  assert.equal(g.formatLength(1500, "nm"), "1.5 µm");
  assert.equal(g.formatLength(42, "px"), "42 px");
  assert.equal(g.formatLength(1, "um"), "1 µm");
  assert.equal(g.formatLength(Number.NaN, "um"), "–");
});

test("bins hold their edges, the last one both", () => {
  const edges = [1, 2, 4, 8];
  assert.deepEqual([1, 1.99, 2, 4, 8, 8.1, 0.5, Number.NaN].map((v) => g.binOf(v, edges)), [0, 0, 1, 2, 2, -1, -1, -1]);
});

test("the place under the cursor: pixels, lengths, grey value; nothing beside the image", () => {
  const image = { width: 20, height: 10 }, info = { pixel: [5, "nm"], grey: "(uint8)" };
  const grey = (x, y) => `${x},${y}`;
  assert.equal(g.placeText({ x: 3.4, y: 1.6 }, image, info, grey), "x 3.4  y 1.6 px  ·  17 nm, 8 nm  ·  grey 3,2 (uint8)");
  assert.equal(g.placeText({ x: 3, y: 1 }, image, { ...info, pixel: null }, grey), "x 3.0  y 1.0 px  ·  grey 3,1 (uint8)");
  for (const spot of [null, { x: -0.6, y: 1 }, { x: 19.5, y: 1 }, { x: 1, y: 9.5 }])
    assert.equal(g.placeText(spot, image, info, grey), "–");
  assert.equal(g.placeText({ x: 19.4, y: 9.4 }, image, info, grey).includes("grey 19,9"), true);
  assert.deepEqual([g.formatScore(null), g.formatScore(0.98765)], ["–", "0.988"]);
});

test("areas take the square of the unit that reads well", () => {
  assert.equal(g.formatArea(0.25, "um"), "2.5e+5 nm²".replace("2.5e+5", "250000"));
  assert.equal(g.formatArea(12.5, "um"), "12.5 µm²");
  assert.equal(g.formatArea(2.5e6, "um"), "2.5 mm²");
  assert.equal(g.formatArea(640, "px"), "640 px²");
});

test("a line, an angle and an outline read as what they measure", () => {
  const nm = [5, "nm"], corner = [[0, 0], [30, 0], [30, 40]];
  assert.equal(g.measureText([[0, 0]], false, nm), "");
  assert.equal(g.measureText([[0, 0], [30, -40]], false, nm), "length 250 nm (50 px), 53.1° to the horizontal");
  assert.equal(g.measureText([[30, -40], [0, 0]], false, nm), "length 250 nm (50 px), 53.1° to the horizontal");
  assert.equal(g.measureText([[0, 0], [50, 0]], false, null), "length 50 px, 0.0° to the horizontal");
  assert.equal(g.measureText([[0, 0], [0, 50]], false, null), "length 50 px, 90.0° to the horizontal");
  assert.equal(g.measureText(corner, false, nm), "length 350 nm (70 px), angle 90.0°");
  assert.equal(g.measureText([[9, 9], ...corner], false, null).split(", ")[1], "angle 90.0°", "the last one");
  assert.equal(g.measureText(corner, true, nm), "area 15000 nm² (600 px²), perimeter 600 nm (120 px)");
  assert.equal(g.measureText(corner, true, null), "area 600 px², perimeter 120 px");
});
