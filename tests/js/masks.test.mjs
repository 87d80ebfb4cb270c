// Masks: decoding, outlines, hits, against shapes that are known in closed form.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/masks.mjs";

const near = (a, b, tolerance = 1e-9) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

const shape = (rows, row = 0, col = 0) => ({
  row, col, height: rows.length, width: rows[0].length, bits: Uint8Array.from(rows.join("").replaceAll(".", "0").replaceAll("#", "1")),
});
const area = (ring) => {
  let sum = 0;
  for (let i = 0, n = ring.length / 2; i < n; i++) {
    const j = (i + 1) % n;
    sum += ring[2 * i] * ring[2 * j + 1] - ring[2 * j] * ring[2 * i + 1];
  }
  return sum / 2;
};

test("bits come back in numpy's order", () => {
  // numpy.packbits([[1,0,1],[0,1,1],[1,1,1]]) is [175, 128]
  assert.deepEqual([...g.unpackBits(Uint8Array.from([175, 128]), 3, 3)], [1, 0, 1, 0, 1, 1, 1, 1, 1]);
});

test("the outline of a rectangle is its four corners, where it lies", () => {
  assert.deepEqual(g.traceContours(shape(["###", "###"], 5, 7)), [[7, 5, 10, 5, 10, 7, 7, 7]]);
});

test("a hole turns the other way and areas add up to the pixel count", () => {
  const rings = g.traceContours(shape(["#####", "#...#", "#.#.#", "#...#", "#####"]));
  assert.equal(rings.length, 3);
  assert.deepEqual(rings.map(area).sort((a, b) => a - b), [-9, 1, 25]);
});

test("pixels that touch at a corner have outlines of their own", () => {
  const rings = g.traceContours(shape(["#.", ".#"]));
  assert.deepEqual(rings.map(area), [1, 1]);
  assert.deepEqual(g.traceContours(shape([".#", "#."])).map(area), [1, 1]);
});

test("signed areas of random masks are their pixel counts", () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 200; i++) {
    const width = 1 + Math.floor(random() * 17), height = 1 + Math.floor(random() * 17);
    const mask = { row: 3, col: 4, width, height, bits: Uint8Array.from({ length: width * height }, () => (random() < 0.55 ? 1 : 0)) };
    const rings = g.traceContours(mask), count = mask.bits.reduce((a, b) => a + b, 0);
    assert.equal(rings.map(area).reduce((a, b) => a + b, 0), count);
    for (const ring of rings) assert.ok(ring.length >= 8);
  }
});

test("runs of zeros and ones become pixels, full bytes too", () => {
  assert.deepEqual([...g.unpackRuns(Uint32Array.from([2, 3, 1]), 3, 2)], [0, 0, 1, 1, 1, 0]);
  assert.deepEqual([...g.unpackRuns(Uint32Array.from([0, 1, 2, 1]), 2, 2)], [1, 0, 0, 1]);
  assert.deepEqual([...g.unpackBits(Uint8Array.from([255, 255, 1, 255, 128]), 11, 3)].join(""), "1".repeat(16) + "0000000" + "1".repeat(10));
});

test("an outline is found from the ends of runs, however many pixels lie inside", () => {
  const n = 1500, pixels = new Uint8Array(n * n);
  let count = 0;
  for (let y = 0; y < n; y++) for (let x = 0; x < n; x++) if (Math.hypot(x - 750, y - 750) < 740) { pixels[y * n + x] = 1; count++; }
  // pixels that can be searched, and not read one by one
  let searches = 0;
  const bits = { length: n * n, indexOf: (value, from) => { searches++; return pixels.indexOf(value, from); } };
  const [ring, ...others] = g.traceContours({ row: 0, col: 0, width: n, height: n, bits });
  assert.equal(others.length, 0);
  assert.equal(area(ring), count);
  assert.ok(searches <= 2 * n + 2, `${searches} searches`);
});

test("simplifying a disc keeps it within the tolerance", () => {
  const n = 101, r = 45, bits = new Uint8Array(n * n);
  for (let y = 0; y < n; y++) for (let x = 0; x < n; x++) bits[y * n + x] = (x - 50) ** 2 + (y - 50) ** 2 <= r * r ? 1 : 0;
  const [ring] = g.traceContours({ row: 0, col: 0, width: n, height: n, bits }), few = g.simplifyRing(ring, 0.75);
  assert.ok(few.length < ring.length / 2, `${few.length} of ${ring.length}`);
  const toSegment = (x, y, ax, ay, bx, by) => {
    const t = Math.min(Math.max(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0), 1);
    return Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay));
  };
  for (let i = 0; i < ring.length; i += 2) {
    let least = Infinity;
    for (let j = 0; j < few.length; j += 2)
      least = Math.min(least, toSegment(ring[i], ring[i + 1], few[j], few[j + 1], few[(j + 2) % few.length], few[(j + 3) % few.length]));
    assert.ok(least <= 0.75 + 1e-9, `corner ${i / 2} is ${least} away`);
  }
  near(area(few), area(ring), 0.02 * area(ring));
  assert.deepEqual(g.simplifyRing([0, 0, 1, 0, 1, 1, 0, 1], 5), [0, 0, 1, 0, 1, 1, 0, 1]);
});

test("picking looks at the pixel around a position", () => {
  const mask = shape(["#.", "##"], 10, 20);
  assert.ok(g.covers(mask, 20.4, 10.4));
  assert.ok(!g.covers(mask, 20.6, 10.4));
  assert.ok(g.covers(mask, 20.6, 10.6));
  assert.ok(!g.covers(mask, 19.4, 10));
});

const particle = (id, rows, row, col, more = {}) => {
  const s = shape(rows, row, col);
  return { id, shape: s, area: s.bits.reduce((a, b) => a + b, 0), visible: true, kept: true, centre: [col, row], ...more };
};

test("of two particles under a point the smaller is picked, of those that are seen", () => {
  const large = particle(1, ["####", "####", "####"], 0, 0), small = particle(2, ["##"], 1, 1);
  assert.equal(g.smallestAt([large, small], 1, 1).id, 2);
  assert.equal(g.smallestAt([small, large], 1, 1).id, 2);
  assert.equal(g.smallestAt([large, small], 0, 0).id, 1);
  assert.equal(g.smallestAt([large, { ...small, visible: false }], 1, 1).id, 1);
  assert.equal(g.smallestAt([large, { ...small, kept: false }], 1, 1).id, 1);
  assert.equal(g.smallestAt([large, small], 9, 9), null);
});

test("a frame holds the particles whose centre is in it", () => {
  const some = [particle(1, ["#"], 2, 2), particle(2, ["#"], 5, 8), particle(3, ["#"], 3, 3, { kept: false })];
  assert.deepEqual(g.centresIn(some, [0, 0, 4, 4]), [1]);
  assert.deepEqual(g.centresIn(some, [2, 2, 8, 5]), [1, 2]);
});

test("a mask is read from its part of a buffer, as bits or as runs", () => {
  const bits = Uint8Array.from([9, 9, 0b10100000, 0]).subarray(2, 3);
  const mask = g.readMask({ box: [5, 7, 6, 10], buffer: 0, runs: false, iou: 0.5 }, [bits]);
  assert.deepEqual([mask.iou, mask.shape.row, mask.shape.col, ...mask.shape.bits], [0.5, 5, 7, 1, 0, 1]);
  const runs = new Uint8Array(Uint32Array.from([1, 2]).buffer);
  assert.deepEqual([...g.readMask({ box: [0, 0, 1, 3], buffer: 0, runs: true }, [runs]).shape.bits], [0, 1, 1]);
  assert.ok(mask.shape.meets([9, 5, 20, 20]));
  assert.ok(!mask.shape.meets([10, 5, 20, 20]));
});

test("a lasso holds the particles whose centre is in it", () => {
  const some = [particle(1, ["#"], 2, 2), particle(2, ["#"], 2, 8), particle(3, ["#"], 3, 3, { visible: false })];
  assert.deepEqual(g.centresAround(some, [[0, 0], [5, 0], [5, 5], [0, 5]]), [1]);
});

test("a mask is uncertain below a limit of its confidence, until somebody accepts it", () => {
  assert.ok(g.uncertain({ confidence: 0.4, review: "" }, 0.5));
  assert.ok(!g.uncertain({ confidence: 0.5, review: "" }, 0.5));
  assert.ok(!g.uncertain({ confidence: 0.4, review: "accepted" }, 0.5));
  assert.ok(!g.uncertain({ confidence: null, review: "" }, 0.5), "drawn by hand");
});
