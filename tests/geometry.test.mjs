// Geometry of the prompt canvas against shapes that are known in closed form.
// Run: node --test tests/geometry.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const source = readFileSync(new URL("../particle_nb/widgets/prompt_canvas.js", import.meta.url));
const g = await import(`data:text/javascript;base64,${source.toString("base64")}`);
const near = (a, b, tolerance = 1e-9) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("the module is small and carries nothing else", () => {
  assert.ok(source.length < 100_000, `${source.length} bytes`);
  assert.ok(!/\bimport\s*[({"']|\bfrom\s+["']https?:|https?:\/\/(?!www\.w3\.org)/.test(source.toString()));
  assert.equal(typeof g.default.render, "function");
});

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

test("halving is the mean of 2 x 2 and repeats an odd last line", () => {
  const half = g.halve(Uint8Array.from([0, 4, 10, 8, 4, 20]), 3, 2);
  assert.deepEqual([half.width, half.height, ...half.data], [2, 1, 4, 15]);
  const rgb = g.halve(Uint8Array.from([0, 10, 20, 4, 30, 40]), 2, 1, 3);
  assert.deepEqual([...rgb.data], [2, 20, 30]);
});

test("display values: identity, window, gamma, inversion", () => {
  const plain = g.makeLut();
  for (let v = 0; v < 256; v++) assert.equal(plain[v], v);
  const window = g.makeLut({ low: 50, high: 150 });
  assert.deepEqual([window[50], window[100], window[150], window[40], window[200]], [0, 128, 255, 0, 255]);
  near(g.makeLut({ gamma: 2 })[64], 255 * Math.sqrt(64 / 255), 0.5);
  assert.deepEqual([g.makeLut({ invert: true })[0], g.makeLut({ invert: true })[255]], [255, 0]);
});

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

test("thinning keeps both ends and a minimum distance", () => {
  const path = Array.from({ length: 100 }, (_, i) => [i * 0.1, 0]), few = g.thin(path, 1);
  assert.deepEqual(few[0], path[0]);
  assert.deepEqual(few.at(-1), path[99]);
  assert.equal(few.length, 11);
  near(g.pathLength(path), 9.9);
});

test("viridis ends in violet and yellow and is grey for no number", () => {
  assert.equal(g.viridis(0), "rgb(68,1,84)");
  assert.equal(g.viridis(1), "rgb(253,231,37)");
  assert.equal(g.viridis(Number.NaN), "rgb(128,128,128)");
});

test("a threshold moves alone, and the two ends of the area never cross", () => {
  const all = { min_area: null, max_area: null, min_predicted_iou: 0.5, nested: "keep" };
  assert.deepEqual(g.withThreshold(all, "min_predicted_iou", 0.7), { ...all, min_predicted_iou: 0.7 });
  assert.deepEqual(all.min_predicted_iou, 0.5, "what it was given is not changed");
  const ends = { ...all, min_area: 20, max_area: 50 };
  assert.equal(g.withThreshold(ends, "min_area", 80).min_area, 50);
  assert.equal(g.withThreshold(ends, "max_area", 5).max_area, 20);
  assert.equal(g.withThreshold(ends, "max_area", null).max_area, null);
  assert.equal(g.withThreshold({ ...ends, max_area: null }, "min_area", 80).min_area, 80);
});

test("a slider gives back the threshold that it was set to, and off at its end", () => {
  const top = Math.log1p(70_000);
  for (const area of [1, 2, 30, 999, 40_000]) assert.equal(g.sliderToThreshold(g.thresholdToSlider(area, top, true, "low"), top, true, "low"), area);
  for (const share of [0.01, 0.35, 0.88, 0.97]) {
    assert.equal(g.sliderToThreshold(g.thresholdToSlider(share, 1, false, "low"), 1, false, "low"), share);
    assert.equal(g.sliderToThreshold(g.thresholdToSlider(share, 1, false, "high"), 1, false, "high"), share);
  }
  assert.equal(g.thresholdToSlider(null, top, true, "low"), 0);
  assert.equal(g.thresholdToSlider(null, top, true, "high"), top);
  assert.equal(g.sliderToThreshold(0, top, true, "low"), null);
  assert.equal(g.sliderToThreshold(top, top, true, "high"), null);
  assert.equal(g.sliderToThreshold(1, 1, false, "low"), 1, "the other end is a threshold");
});

test("the spread passes over what is no number", () => {
  assert.deepEqual(g.spread([3, Number.NaN, -1, Infinity, 2]), [-1, 3]);
});
