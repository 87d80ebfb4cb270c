// What lies over the masks: the draft, the preview, what the hand has begun, the scale bar.

import { levelled } from "./ruler.mjs";
import { formatLength, measureText, scaleBar } from "./format.mjs";

const DRAFT = "#56B4E9";
const INSIDE = "#009E73";
const OUTSIDE = "#D55E00";
const BEGUN = "#F0E442";
const FONT = "600 12px system-ui, sans-serif";

/** Draws in image space: `hair` is the width of a thin line of the screen there. */
class Pen {
  constructor(context, scale) {
    this.context = context;
    this.scale = scale;
    this.hair = 1.5 / scale;
    context.lineJoin = context.lineCap = "round";
  }

  outline(path, colour, width, dash = []) {
    const { context } = this;
    context.setLineDash([]);
    context.globalAlpha = 0.85;
    context.lineWidth = (width + 2) * this.hair;
    context.strokeStyle = "rgba(0,0,0,.65)";
    context.stroke(path);
    context.setLineDash(dash.map((d) => d / this.scale));
    context.globalAlpha = 1;
    context.lineWidth = width * this.hair;
    context.strokeStyle = colour;
    context.stroke(path);
    context.setLineDash([]);
  }

  fill(path, colour, alpha) {
    this.context.globalAlpha = alpha;
    this.context.fillStyle = colour;
    this.context.fill(path, "evenodd");
  }

  /** A point of the prompt: a disc with a plus or a minus. */
  dot(x, y, label, alpha = 1) {
    const { context } = this, r = 5.5 / this.scale, disc = new Path2D(), sign = new Path2D();
    disc.arc(x + 0.5, y + 0.5, r, 0, 7);
    this.fill(disc, label ? INSIDE : OUTSIDE, alpha);
    context.lineWidth = this.hair;
    context.strokeStyle = "#fff";
    context.stroke(disc);
    sign.moveTo(x + 0.5 - r / 2, y + 0.5);
    sign.lineTo(x + 0.5 + r / 2, y + 0.5);
    if (label) {
      sign.moveTo(x + 0.5, y + 0.5 - r / 2);
      sign.lineTo(x + 0.5, y + 0.5 + r / 2);
    }
    context.stroke(sign);
  }

  cross(x, y, colour) {
    const r = 14 / this.scale, arms = new Path2D();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      arms.moveTo(x + 0.5 + (dx * r) / 3, y + 0.5 + (dy * r) / 3);
      arms.lineTo(x + 0.5 + dx * r, y + 0.5 + dy * r);
    }
    this.outline(arms, colour, 1.2);
  }
}

function linePath(points, close = false) {
  const path = new Path2D();
  points.forEach(([x, y], i) => (i ? path.lineTo(x + 0.5, y + 0.5) : path.moveTo(x + 0.5, y + 0.5)));
  if (close) path.closePath();
  return path;
}

function boxPath(x0, y0, x1, y1) {
  return linePath([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], true);
}

/** The draft and the preview of the store and the hand, then what the hand has begun. */
export function drawOverlay(context, { store, hand, camera }) {
  const pen = new Pen(context, camera.view.scale);
  drawRegions(pen, store);
  drawDraft(pen, store, hand);
  drawStroke(pen, hand);
  drawCorners(pen, hand);
  if (hand.bar) drawBar(pen, hand.bar);
  if (hand.cursor && (hand.tool === "brush" || hand.tool === "eraser")) {
    const ring = new Path2D();
    ring.arc(hand.cursor.x + 0.5, hand.cursor.y + 0.5, hand.radius, 0, 7);
    pen.outline(ring, "#fff", 1);
  }
  if (hand.mark) pen.cross(...hand.mark, BEGUN);
  if (hand.cross) pen.cross(hand.cross.x, hand.cross.y, "#fff");
}

function drawDraft(pen, { draft, candidate }, { preview, sign, asked }) {
  if (candidate) {
    const path = candidate.shape.path(pen.scale);
    pen.fill(path, DRAFT, 0.4);
    pen.outline(path, "#ffffff", 1.6);
  }
  const guess = preview?.candidates[preview.choice];
  if (guess) {
    const path = guess.shape.path(pen.scale), colour = sign ? BEGUN : OUTSIDE;
    pen.fill(path, colour, 0.22);
    pen.outline(path, colour, 1.2, [6, 4]);
  }
  if (draft?.box) pen.outline(boxPath(...draft.box), BEGUN, 1, [5, 4]);
  draft?.points.forEach(([x, y], i) => pen.dot(x, y, draft.labels[i]));
  for (const point of asked.values()) pen.dot(...point, 0.6);
}

/** What is not analysed is dark; rims are green around what is, orange around what is left out. */
function drawRegions(pen, { premises, picture }) {
  const parts = premises?.regions ?? [], { context } = pen;
  if (!parts.length) return;
  const all = [[-0.5, -0.5], [picture.width - 0.5, -0.5], [picture.width - 0.5, picture.height - 0.5], [-0.5, picture.height - 0.5]];
  const included = parts.filter((p) => p.include);
  context.save();
  for (const { path } of included) {
    const beside = linePath(all, true);
    beside.addPath(linePath(path, true));
    context.clip(beside, "evenodd"); // beside each of them: beside all of them
  }
  if (included.length) pen.fill(linePath(all, true), "#000", 0.5);
  context.restore();
  for (const { path, include } of parts) {
    if (!include) pen.fill(linePath(path, true), "#000", 0.5);
    pen.outline(linePath(path, true), include ? INSIDE : OUTSIDE, 1.4, include ? [] : [6, 4]);
  }
}

/** A scale bar with strokes at its ends, and its length beside it. */
function drawBar(pen, [x0, y0, x1, y1]) {
  const long = Math.hypot(x1 - x0, y1 - y0) || 1, r = 9 / pen.scale;
  const dx = (-(y1 - y0) / long) * r, dy = ((x1 - x0) / long) * r;
  pen.outline(linePath([[x0, y0], [x1, y1]]), BEGUN, 1.6);
  for (const [x, y] of [[x0, y0], [x1, y1]]) pen.outline(linePath([[x - dx, y - dy], [x + dx, y + dy]]), BEGUN, 1.6);
}

function drawStroke(pen, hand) {
  const { stroke, radius } = hand;
  const path = stroke?.path;
  if (!path?.length) return;
  const first = path[0], last = path[path.length - 1], { context } = pen;
  const smear = (colour) => {
    context.globalAlpha = 0.5;
    context.lineWidth = 2 * radius;
    context.strokeStyle = colour;
    context.stroke(linePath(path.length > 1 ? path : [first, first]));
  };
  const draw = {
    box: () => pen.outline(boxPath(...first, ...last), BEGUN, 1, [5, 4]),
    select: () => pen.outline(boxPath(...first, ...last), "#fff", 1, [5, 4]),
    sketch: () => pen.outline(linePath(path, true), BEGUN, 1.4),
    lasso: () => pen.outline(linePath(path, true), "#fff", 1, [5, 4]),
    region: () => pen.outline(boxPath(...first, ...last), hand.sign ? INSIDE : OUTSIDE, 1.4, [5, 4]),
    scale: () => drawBar(pen, levelled(first, last, stroke.add)),
    split: () => pen.outline(linePath(path), OUTSIDE, 1.6),
    brush: () => smear(DRAFT),
    eraser: () => smear(OUTSIDE),
  }[stroke.kind];
  draw?.();
}

function drawCorners(pen, { polygon, cursor, measured }) {
  const corners = measured ? measured.path : polygon, r = 3 / pen.scale;
  if (!corners.length) return;
  const next = cursor && !measured ? [[cursor.x, cursor.y]] : [];
  pen.outline(linePath([...corners, ...next], !!measured?.closed), BEGUN, 1.4);
  for (const [x, y] of corners) {
    pen.context.fillStyle = "#fff";
    pen.context.fillRect(x + 0.5 - r, y + 0.5 - r, 2 * r, 2 * r);
  }
}

/** The reading of what is being or was measured, beside its last corner; drawn in CSS pixels. */
export function drawReading(context, { view, size }, { tool, polygon, measured, cursor }, pixel) {
  if (tool !== "measure") return;
  const path = measured ? measured.path : [...polygon, ...(cursor ? [[cursor.x, cursor.y]] : [])];
  const text = measureText(path, !!measured?.closed, pixel);
  if (!text) return;
  context.globalAlpha = 1;
  context.font = FONT;
  context.textAlign = "left";
  const [x, y] = path[path.length - 1], wide = context.measureText(text).width + 12;
  const left = Math.min((x + 0.5 - view.x) * view.scale + 12, size.width - wide - 4);
  const low = Math.min(Math.max((y + 0.5 - view.y) * view.scale - 10, 24), size.height - 6);
  context.fillStyle = "rgba(0,0,0,.72)";
  context.fillRect(Math.max(left, 4), low - 16, wide, 22);
  context.fillStyle = "#fff";
  context.fillText(text, Math.max(left, 4) + 6, low);
}

/** Drawn in CSS pixels of the canvas; gives the bar's text. */
export function drawScaleBar(context, { view, size: canvas }, [pixel, unit]) {
  const { length, pixels } = scaleBar(pixel, view.scale, Math.min(160, canvas.width / 4));
  const x = canvas.width - pixels - 14, y = canvas.height - 14, text = formatLength(length, unit);
  context.globalAlpha = 1;
  context.font = FONT;
  context.textAlign = "center";
  const wide = Math.max(pixels, context.measureText(text).width);
  context.fillStyle = "rgba(0,0,0,.6)";
  context.fillRect(x + pixels / 2 - wide / 2 - 7, y - 22, wide + 14, 30);
  context.fillStyle = "#fff";
  context.fillRect(x, y - 1, pixels, 3);
  context.fillText(text, x + pixels / 2, y - 7);
  return text;
}
