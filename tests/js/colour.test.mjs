// Display values and colour scales.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/colour.mjs";

const near = (a, b, tolerance = 1e-9) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("display values: identity, window, gamma, inversion", () => {
  const plain = g.makeLut();
  for (let v = 0; v < 256; v++) assert.equal(plain[v], v);
  const window = g.makeLut({ low: 50, high: 150 });
  assert.deepEqual([window[50], window[100], window[150], window[40], window[200]], [0, 128, 255, 0, 255]);
  near(g.makeLut({ gamma: 2 })[64], 255 * Math.sqrt(64 / 255), 0.5);
  assert.deepEqual([g.makeLut({ invert: true })[0], g.makeLut({ invert: true })[255]], [255, 0]);
});

test("viridis ends in violet and yellow and is grey for no number", () => {
  assert.equal(g.viridis(0), "rgb(68,1,84)");
  assert.equal(g.viridis(1), "rgb(253,231,37)");
  assert.equal(g.viridis(Number.NaN), "rgb(128,128,128)");
});

test("the spread passes over what is no number", () => {
  assert.deepEqual(g.spread([3, Number.NaN, -1, Infinity, 2]), [-1, 3]);
});

const storeOf = (particles, columns = []) => ({
  columns,
  kept: () => particles.filter((p) => p.kept),
  told: new Map(),
  classes: () => [...new Set(particles.map((p) => p.label).filter(Boolean))].sort(),
});

test("particles are coloured by number, class, confidence or a column, and the legend says so", () => {
  const some = [
    { id: 1, label: "b", iou: 0, confidence: 0.5, row: [10], kept: true },
    { id: 8, label: "a", iou: 1, row: [30], kept: true },
    { id: 3, label: "", iou: null, row: [90], kept: false },
  ];
  const palette = new g.Palette(storeOf(some, ["size"])), seen = () => some.map(palette.colours());
  assert.equal(seen()[0], g.OKABE_ITO[0]);
  assert.equal(seen()[1], g.OKABE_ITO[0], "seven colours, then again");
  assert.equal(palette.legend(), null);
  palette.set("class");
  assert.deepEqual(seen(), [g.OKABE_ITO[1], g.OKABE_ITO[0], "#999999"]);
  assert.deepEqual(palette.legend().classes.map(([name]) => name), ["a", "b", "no class"]);
  assert.ok(!palette.lone);
  palette.store.told.set(3, {});
  some[2].guess = "b";
  assert.equal(seen()[2], g.paler(g.OKABE_ITO[1]), "what is only thought is paler");
  assert.deepEqual(palette.legend().classes.slice(2).map(([name]) => name), ["predicted", "unknown"]);
  palette.set("probability");
  assert.deepEqual(seen().map((c) => c !== "rgb(128,128,128)"), [true, true, false]);
  some[2].chance = 0;
  assert.equal(seen()[2], "rgb(68,1,84)");
  palette.set("confidence");
  assert.deepEqual([seen()[0] === "rgb(128,128,128)", palette.legend().name], [false, "confidence"]);
  palette.set("iou");
  assert.deepEqual(seen(), ["rgb(68,1,84)", "rgb(253,231,37)", "rgb(128,128,128)"]);
  assert.ok(palette.lone);
  palette.set("size");
  assert.deepEqual(seen().slice(0, 2), ["rgb(68,1,84)", "rgb(253,231,37)"], "what is hidden has no say in the range");
  assert.deepEqual([palette.legend().low, palette.legend().high], ["10", "30"]);
  some[1].row[0] = 50;
  assert.equal(palette.legend().high, "30");
  palette.forget();
  assert.equal(palette.legend().high, "50");
  some[0].row[0] = 49.99;
  palette.forget();
  assert.deepEqual([palette.legend().low, palette.legend().high], ["49.99", "50"], "ends that differ read differently");
});
