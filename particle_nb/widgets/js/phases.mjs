// Pure parts of the phase painter: colours of phases, strokes on a label image, pens, keys.

import { STILL } from "./fingers.mjs";

export const UNPAINTED = 255;

/** Okabe and Ito's colours in the order of the figures. */
export const PHASE_COLOURS = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [213, 94, 0], [240, 228, 66], [0, 0, 0],
];

export function phaseColour(phase) {
  return PHASE_COLOURS[phase % PHASE_COLOURS.length];
}

/** Put a crop of labels, row by row, into an image of them. */
export function putCrop(labels, width, [r0, c0, r1, c1], crop) {
  const wide = c1 - c0;
  for (let r = r0; r < r1; r++) labels.set(crop.subarray((r - r0) * wide, (r - r0 + 1) * wide), r * width + c0);
}

/** RGBA of labels within a box: colour by phase, `alpha` 0..255, nothing where there is none. */
export function paintLabels(labels, width, [r0, c0, r1, c1], alpha) {
  const wide = c1 - c0, out = new Uint8ClampedArray(wide * (r1 - r0) * 4);
  let to = 0;
  for (let r = r0; r < r1; r++)
    for (let c = c0; c < c1; c++, to += 4) {
      const phase = labels[r * width + c];
      if (phase === UNPAINTED) continue;
      const [red, green, blue] = phaseColour(phase);
      out[to] = red;
      out[to + 1] = green;
      out[to + 2] = blue;
      out[to + 3] = alpha;
    }
  return out;
}

/** RGBA of certainty 0..255: the more doubtful, the more white, none where all trees agree. */
export function paintDoubt(certainty) {
  const out = new Uint8ClampedArray(certainty.length * 4);
  for (let i = 0, to = 0; i < certainty.length; i++, to += 4) {
    out[to] = out[to + 1] = out[to + 2] = 255;
    out[to + 3] = Math.round(0.85 * (255 - certainty[i]));
  }
  return out;
}

/** A path without points that lie nearer than `least` to the one before; both ends stay. */
export function thinned(path, least) {
  const kept = [];
  path.forEach(([x, y], i) => {
    const last = kept[kept.length - 1];
    if (!last || i === path.length - 1 || Math.hypot(x - last[0], y - last[1]) >= least) kept.push([x, y]);
  });
  return kept;
}

const ERASES = 2 | 32; // a pen's second button and its other end, among the buttons of an event
const SOON = 400; // milliseconds within which a second finger belongs to the first

/** The tool that a pointer works with: a pen's second button or other end erases. */
export function penTool(tool, { pointerType, buttons }) {
  return pointerType === "pen" && buttons & ERASES ? "eraser" : tool;
}

/** Whether a second finger, `after` milliseconds later, makes none of a stroke that reaches `far` CSS
 *  pixels: it came soon, the first had hardly moved, or half a lasso would be filled. */
export function takenBack(tool, after, far) {
  return tool === "polygon" || after < SOON || far < STILL;
}

export const PAINT_KEYS = [
  ["1 … 9", "paint this phase"],
  ["D · E · P", "brush · eraser · polygon (drag: lasso; clicks: corners, Enter or a double click fills)"],
  ["[ ]", "smaller, larger brush"],
  ["V · C", "show or hide the result · what is doubtful"],
  ["− = · ; '", "zoom · fainter, stronger colours"],
  ["Ctrl+Z · Ctrl+Shift+Z or Ctrl+Y", "undo · redo"],
  ["Ctrl+S", "save"],
  ["Space + drag · wheel", "move · zoom (after a click into the picture)"],
  ["Two fingers", "move and zoom"],
  ["Pen's second button or other end", "erase"],
  ["0", "fit"],
  ["Esc · Backspace", "give the polygon up · its last corner"],
];

const ALONE = {
  d: ["take", "brush"], e: ["take", "eraser"], p: ["take", "polygon"], v: ["toggleResult"], c: ["toggleDoubt"],
  "[": ["scaleRadius", 0.8], "]": ["scaleRadius", 1.25], ";": ["moreOpacity", -0.1], "'": ["moreOpacity", 0.1],
  0: ["fit"], "-": ["zoom", 0.8], "=": ["zoom", 1.25], "+": ["zoom", 1.25], " ": ["hold", true],
  enter: ["endCorners"], escape: ["cancel"], backspace: ["backCorner"], "?": ["help"],
};

/** What a key event means, [name, ...arguments], or null. */
export function paintCommand({ key, ctrlKey, metaKey, shiftKey }) {
  const low = key.toLowerCase();
  if (ctrlKey || metaKey) {
    if (low === "z") return [shiftKey ? "redo" : "undo"];
    return low === "y" ? ["redo"] : low === "s" ? ["save"] : null;
  }
  if (low >= "1" && low <= "9" && low.length === 1) return ["choose", Number(low) - 1];
  return ALONE[low] ?? null;
}
