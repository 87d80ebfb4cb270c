// Views, points and paths against what is known in closed form.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/geometry.mjs";

const near = (a, b, tolerance = 1e-9) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("a pixel centre lies half a pixel behind its corner", () => {
  const view = { scale: 4, x: 0, y: 0 }, rect = { left: 10, top: 20, width: 400, height: 200 };
  const size = { width: 400, height: 200 };
  assert.deepEqual(g.clientToImage(view, rect, size, 12, 22), { x: 0, y: 0 });
  assert.deepEqual(g.clientToImage(view, rect, size, 10, 20), { x: -0.5, y: -0.5 });
});

test("to the screen and back is the identity at any zoom, pan and page scale", () => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 500; i++) {
    const view = { scale: 2 ** (12 * random() - 6), x: 4000 * random() - 500, y: 3000 * random() - 500 };
    const size = { width: 300 + 900 * random(), height: 200 + 600 * random() }, zoom = 0.5 + 2 * random();
    const rect = { left: 500 * random(), top: 500 * random(), width: size.width * zoom, height: size.height * zoom };
    const x = 4000 * random(), y = 3000 * random(), c = g.imageToClient(view, rect, size, x, y);
    const back = g.clientToImage(view, rect, size, c.x, c.y);
    near(back.x, x, 1e-6);
    near(back.y, y, 1e-6);
  }
});

test("zooming keeps what lies under the cursor", () => {
  let view = { scale: 0.3, x: 120.5, y: -33 };
  const rect = { left: 0, top: 0, width: 800, height: 600 }, size = { width: 800, height: 600 };
  const before = g.clientToImage(view, rect, size, 617, 211);
  for (const factor of [1.3, 1.3, 0.4, 7]) view = g.zoomAbout(view, factor, 617, 211, 0.01, 64);
  const after = g.clientToImage(view, rect, size, 617, 211);
  near(after.x, before.x, 1e-9);
  near(after.y, before.y, 1e-9);
  assert.equal(g.zoomAbout(view, 1e9, 0, 0, 0.1, 64).scale, 64);
});

test("fitting shows the whole image in the middle", () => {
  const view = g.fitView({ width: 4000, height: 3000 }, { width: 800, height: 300 });
  near(view.scale, 0.1);
  assert.deepEqual(g.visibleBox(view, { width: 4000, height: 3000 }, { width: 800, height: 300 }), [0, 0, 4000, 3000]);
  near(view.x, -2000);
  near(view.y, 0);
});

test("a clamped view keeps its middle on the image, a snapped one moves less than a device pixel", () => {
  const image = { width: 100, height: 80 }, size = { width: 50, height: 40 };
  const far = g.clampView({ scale: 2, x: 900, y: -900 }, image, size);
  near(far.x + size.width / 4, 100);
  near(far.y + size.height / 4, 0);
  const view = { scale: 1.37, x: 12.345, y: 6.789 }, snapped = g.snapView(view, 2);
  assert.ok(Math.abs(snapped.x - view.x) * 1.37 * 2 <= 0.5 + 1e-9);
  near((snapped.x * 1.37 * 2) % 1, 0, 1e-9);
});

test("only tiles that are seen are drawn, from the level that fits", () => {
  assert.equal(g.levelFor(1, 5), 0);
  assert.equal(g.levelFor(0.5, 5), 1);
  assert.equal(g.levelFor(0.26, 5), 1);
  assert.equal(g.levelFor(0.001, 5), 4);
  assert.equal(g.levelFor(8, 5), 0);
  assert.deepEqual(g.tilesIn([0, 0, 512, 512], 0, 512), [[0, 0]]);
  assert.deepEqual(g.tilesIn([511, 0, 1025, 10], 0, 512), [[0, 0], [1, 0], [2, 0]]);
  assert.deepEqual(g.tilesIn([0, 0, 4000, 1000], 2, 512), [[0, 0], [1, 0]]);
});

test("thinning keeps both ends and a minimum distance", () => {
  const path = Array.from({ length: 100 }, (_, i) => [i * 0.1, 0]), few = g.thin(path, 1);
  assert.deepEqual(few[0], path[0]);
  assert.deepEqual(few.at(-1), path[99]);
  assert.equal(few.length, 11);
  near(g.pathLength(path), 9.9);
});

test("corners in any order are one box, and the outermost pixels belong to the image", () => {
  for (const [a, b] of [[[3, 9], [7, 2]], [[7, 2], [3, 9]], [[3, 2], [7, 9]]]) assert.deepEqual(g.boxOf(a, b), [3, 2, 7, 9]);
  const image = { width: 10, height: 4 };
  assert.ok(g.onImage({ x: -0.5, y: 3.5 }, image));
  assert.ok(!g.onImage({ x: -0.51, y: 0 }, image));
  assert.ok(!g.onImage({ x: 0, y: 3.6 }, image));
});

test("angles and areas of corners", () => {
  near(g.angleAt([5, 0], [0, 0], [0, 9]), 90);
  near(g.angleAt([-3, 0], [0, 0], [4, 0]), 180);
  near(g.angleAt([1, 0], [0, 0], [Math.sqrt(3), -1]), 30, 1e-9);
  near(g.angleAt([3, 4], [1, 1], [3, 4]), 0);
  assert.ok(Number.isNaN(g.angleAt([1, 1], [1, 1], [2, 2])));
  near(g.enclosedArea([[0, 0], [4, 0], [4, 3]]), 6);
  near(g.enclosedArea([[4, 3], [4, 0], [0, 0]]), 6);
  const turn = (n, r) => Array.from({ length: n }, (_, i) => [r * Math.cos((2 * Math.PI * i) / n), r * Math.sin((2 * Math.PI * i) / n)]);
  near(g.enclosedArea(turn(720, 10)), Math.PI * 100, 0.01);
});

test("inside an outline, also where it is indented", () => {
  const horseshoe = [[0, 0], [10, 0], [10, 10], [7, 10], [7, 3], [3, 3], [3, 10], [0, 10]];
  assert.deepEqual([[1, 5], [5, 5], [9, 5], [5, 1], [11, 5], [5, 11]].map(([x, y]) => g.insideOutline(horseshoe, x, y)), [true, false, true, true, false, false]);
});
