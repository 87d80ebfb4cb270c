import assert from "node:assert/strict";
import test from "node:test";
import {
  PAINT_KEYS, UNPAINTED, paintCommand, paintDoubt, paintLabels, penTool, phaseColour, putCrop, takenBack,
  thinned,
} from "../../particle_nb/widgets/js/phases.mjs";

test("a crop of labels lands in its box and nowhere else", () => {
  const labels = new Uint8Array(5 * 4).fill(UNPAINTED);
  putCrop(labels, 5, [1, 2, 3, 4], new Uint8Array([0, 1, 2, UNPAINTED]));
  assert.deepEqual([...labels.slice(5, 10)], [255, 255, 0, 1, 255]);
  assert.deepEqual([...labels.slice(10, 15)], [255, 255, 2, 255, 255]);
  assert.equal(labels.filter((v) => v !== UNPAINTED).length, 3);
});

test("labels get their colours, unpainted pixels none", () => {
  const labels = new Uint8Array([UNPAINTED, 1, 0, UNPAINTED]);
  const rgba = paintLabels(labels, 2, [0, 0, 2, 2], 200);
  assert.deepEqual([...rgba.slice(0, 4)], [0, 0, 0, 0]);
  assert.deepEqual([...rgba.slice(4, 8)], [...phaseColour(1), 200]);
  assert.deepEqual([...rgba.slice(8, 12)], [...phaseColour(0), 200]);
});

test("what is certain is clear, what is doubtful white", () => {
  const rgba = paintDoubt(new Uint8Array([255, 0, 128]));
  assert.equal(rgba[3], 0);
  assert.equal(rgba[7], Math.round(0.85 * 255));
  assert.ok(rgba[11] > 0 && rgba[11] < rgba[7]);
});

test("a path is thinned, both ends stay", () => {
  const path = Array.from({ length: 101 }, (_, i) => [i / 10, 3]);
  const kept = thinned(path, 2);
  assert.deepEqual(kept[0], [0, 3]);
  assert.deepEqual(kept[kept.length - 1], [10, 3]);
  assert.ok(kept.length <= 7);
  assert.deepEqual(thinned([[1, 2]], 5), [[1, 2]]);
});

test("keys: phases by number, tools by letter, nothing else", () => {
  const key = (k, more = {}) => paintCommand({ key: k, ctrlKey: false, metaKey: false, shiftKey: false, ...more });
  assert.deepEqual(key("1"), ["choose", 0]);
  assert.deepEqual(key("9"), ["choose", 8]);
  assert.deepEqual(key("0"), ["fit"]);
  assert.deepEqual(key("E"), ["take", "eraser"]);
  assert.deepEqual(key("z", { ctrlKey: true }), ["undo"]);
  assert.deepEqual(key("Z", { ctrlKey: true, shiftKey: true }), ["redo"]);
  assert.equal(key("x"), null); // would delete a cell if it came through, and must do nothing
  assert.equal(key("F5"), null);
  assert.equal(key("10"), null);
  assert.ok(PAINT_KEYS.length > 8);
});

test("colours repeat after the last one", () => {
  assert.deepEqual(phaseColour(8), phaseColour(0));
});

test("a pen's second button and its other end erase, a mouse's second button does not", () => {
  const pen = (buttons) => penTool("brush", { pointerType: "pen", buttons });
  assert.deepEqual([1, 2, 3, 32].map(pen), ["brush", "eraser", "eraser", "eraser"]);
  assert.equal(penTool("polygon", { pointerType: "pen", buttons: 32 }), "eraser");
  assert.equal(penTool("brush", { pointerType: "mouse", buttons: 2 }), "brush");
  assert.equal(penTool("brush", { pointerType: "touch", buttons: 1 }), "brush");
});

test("a second finger takes back what began just now, no long stroke", () => {
  assert.ok(takenBack("brush", 120, 90));
  assert.ok(takenBack("brush", 5000, 3), "the first finger only rested");
  assert.ok(!takenBack("eraser", 900, 90));
  assert.ok(takenBack("polygon", 900, 90), "half a lasso is none");
});
