
// The view as it moves.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Camera } from "../../particle_nb/widgets/js/camera.mjs";

const near = (a, b, tolerance = 1e-9) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);
const made = () => {
  const camera = new Camera();
  camera.image = { width: 1000, height: 500 };
  camera.resize(500, 400, 1);
  camera.fit();
  return camera;
};
const middle = ({ view, size }) => [view.x + size.width / view.scale / 2, view.y + size.height / view.scale / 2];

test("a fitted view stays fitted when the cell grows, another keeps its middle", () => {
  const camera = made();
  near(camera.view.scale, 0.5);
  camera.resize(800, 400, 1);
  near(camera.view.scale, 0.8);
  camera.zoom(4, 200, 100);
  const [x, y] = middle(camera);
  camera.resize(600, 300, 1);
  near(middle(camera)[0], x, 0.5);
  near(middle(camera)[1], y, 0.5);
  assert.equal(camera.view.scale, 3.2);
});

test("it moves only as far as it must, and says so", () => {
  const camera = made();
  let moves = 0;
  camera.on("moved", () => moves++);
  camera.zoom(4);
  assert.equal(moves, 1);
  const [x0, y0, x1, y1] = camera.visible();
  camera.reveal((x0 + x1) / 2, (y0 + y1) / 2);
  camera.follow({ x: (x0 + x1) / 2, y: (y0 + y1) / 2 }, 20);
  assert.equal(moves, 1);
  camera.reveal(x1 + 50, (y0 + y1) / 2);
  near(middle(camera)[0], x1 + 50, 1);
  const before = { ...camera.view };
  camera.follow({ x: before.x - 0.5 + 10 / before.scale, y: middle(camera)[1] }, 20);
  near(before.x - camera.view.x, 10 / before.scale, 1e-6);
});

test("approaching a particle comes nearer, never goes away", () => {
  const camera = made();
  camera.approach({ row: 100, col: 200, width: 20, height: 10 });
  near(camera.view.scale, 500 / 20 / 4);
  near(middle(camera)[0], 210, 0.1);
  camera.zoom(2);
  const { scale } = camera.view;
  camera.approach({ row: 100, col: 200, width: 200, height: 100 });
  assert.equal(camera.view.scale, scale);
  assert.ok(camera.limits()[1] >= scale);
});
