// Two canvases: the image with its masks below, what the hand does above. Drawn once a frame.

import { visibleBox } from "./geometry.mjs";
import { uncertain } from "./masks.mjs";
import { drawOverlay, drawReading, drawScaleBar } from "./overlay.mjs";

const DASH = [4, 3]; // of the outlines of uncertain masks, in widths of a line

export class Painter {
  constructor({ root, base, top, store, camera, hand, palette }) {
    Object.assign(this, { root, base, top, store, camera, hand, palette });
    this.style = { fill: true, contour: true, opacity: 0.35, hideAll: false, certain: 0.5 };
    this.frames = this.masksDrawn = 0;
    this.over = []; // particles that came on top of those that are drawn
    this.layer = null; // the masks, kept while only other things change
    this.layerStale = true;
    this.after = null;
  }

  close() {
    clearTimeout(this.crisp);
    cancelAnimationFrame(this.frame);
  }

  /** The canvases get another size, in device pixels. */
  resize(wide, high) {
    const { width, height } = this.camera.size;
    for (const canvas of [this.base, this.top]) {
      Object.assign(canvas, { width: wide, height: high });
      Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    // painting here, not in the next frame, avoids a white flash while the cell is being dragged
    this.layerStale = true;
    this.drawBase();
    this.paintTop();
  }

  /** Masks, style or image changed: everything is drawn anew. `then` runs after the drawing. */
  paint(then) {
    this.layerStale = true;
    this.paintView(then);
  }

  /** Particles came on top of the others: those stay as they are drawn, if colours do not depend on all. */
  paintOver(particles, then) {
    if (!this.palette.lone) return this.paint(then);
    this.over.push(...particles);
    this.paintView(then);
  }

  /** Only the view moved. */
  paintView(then) {
    this.wantBase = true;
    this.paintTop(then);
  }

  /** Only what lies over the masks changed. */
  paintTop(then) {
    if (then) (this.after ??= []).push(then);
    this.wantTop = true;
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = undefined;
    if (this.store.picture) {
      if (this.wantBase) this.drawBase();
      if (this.wantTop) this.drawTop();
    }
    this.wantBase = this.wantTop = false;
    this.frames++;
    const after = this.after;
    this.after = null;
    after?.forEach((run) => run());
  }

  toImageSpace(context) {
    const { view, ratio } = this.camera, k = view.scale * ratio;
    context.setTransform(k, 0, 0, k, -Math.round(view.x * k), -Math.round(view.y * k));
  }

  drawBase() {
    const { picture, particles } = this.store;
    if (!picture) return;
    const context = this.base.getContext("2d", { alpha: false }), { view, size, ratio } = this.camera;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.fillStyle = "#14171a";
    context.fillRect(0, 0, this.base.width, this.base.height);
    picture.draw(context, view, size, ratio);
    if (this.style.hideAll || !particles.size) return;
    const kept = this.layerView, moved = !kept || kept.scale !== view.scale || kept.x !== view.x || kept.y !== view.y;
    clearTimeout(this.crisp);
    if (this.layerStale || (moved && (this.layerCost < 5 || this.over.length))) this.drawLayer();
    else if (moved) {
      // many masks cost more than a frame: while the view moves their picture moves with it,
      // and is drawn anew as soon as it rests or shows less than what is seen
      if (!this.layerServes()) this.drawLayer();
      else {
        this.moveLayer(context);
        this.crisp = setTimeout(() => this.paint(), 90);
        return;
      }
    } else if (this.over.length) this.layerCost += this.drawMasks(this.layer.getContext("2d"), this.over) / 10;
    this.over = [];
    context.drawImage(this.layer, 0, 0);
  }

  /** Whether the kept picture of the masks may stand for them while the view moves. */
  layerServes() {
    const { view, size } = this.camera, kept = this.layerView;
    const shown = visibleBox(kept, this.store.picture, size), now = this.camera.visible();
    const inside = now[0] >= shown[0] && now[1] >= shown[1] && now[2] <= shown[2] && now[3] <= shown[3];
    return view.scale / kept.scale <= 2.5 && (inside || performance.now() - this.layerTime <= 6 * this.layerCost);
  }

  moveLayer(context) {
    const { view, ratio } = this.camera, kept = this.layerView, zoom = view.scale / kept.scale;
    const k = kept.scale * ratio * zoom;
    context.setTransform(zoom, 0, 0, zoom, Math.round((kept.x - view.x) * k), Math.round((kept.y - view.y) * k));
    context.imageSmoothingEnabled = true;
    context.drawImage(this.layer, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /** Fills and contours of the committed masks, on a transparent canvas of the view's size. */
  drawLayer() {
    if (!this.layer || this.layer.width !== this.base.width || this.layer.height !== this.base.height)
      this.layer = new OffscreenCanvas(this.base.width, this.base.height);
    const context = this.layer.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.layer.width, this.layer.height);
    const shown = this.drawMasks(context, [...this.store.particles.values()]);
    this.layerStale = false;
    this.layerView = { ...this.camera.view };
    this.layerTime = performance.now();
    // drawing is queued, so it cannot be timed here: about 0.1 ms a mask without a graphics card
    this.layerCost = shown / 10;
  }

  /** Fills and contours of those particles that can be seen; how many that are. */
  drawMasks(context, particles) {
    this.toImageSpace(context);
    context.lineJoin = "round";
    const { style } = this, { scale } = this.camera.view, hair = 1.5 / scale, box = this.camera.visible();
    const { draft, selection } = this.store, colours = this.palette.colours();
    // what is being refined shows as its draft, not beneath it too
    const shown = particles.filter((p) => p.visible && p.kept && p.id !== draft?.refines && p.shape.meets(box));
    for (const particle of shown) {
      const path = particle.shape.path(scale), chosen = selection.has(particle.id), colour = colours(particle);
      if (style.fill || chosen) {
        context.globalAlpha = chosen ? Math.min(style.opacity + 0.25, 1) : style.opacity;
        context.fillStyle = colour;
        context.fill(path, "evenodd");
      }
      context.globalAlpha = 1;
      context.setLineDash(uncertain(particle, style.certain) ? DASH.map((d) => d * hair) : []);
      const lines = chosen ? [[4, "#000"], [2, "#fff"]] : style.contour ? [[1, colour]] : [];
      for (const [width, ink] of lines) {
        context.lineWidth = width * hair;
        context.strokeStyle = ink;
        context.stroke(path);
      }
    }
    context.setLineDash([]);
    this.masksDrawn += shown.length;
    return shown.length;
  }

  drawTop() {
    const context = this.top.getContext("2d"), { ratio } = this.camera;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.top.width, this.top.height);
    this.toImageSpace(context);
    drawOverlay(context, this);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { pixel } = this.store.info;
    drawReading(context, this.camera, this.hand, pixel);
    this.root.dataset.scaleBar = drawScaleBar(context, this.camera, pixel || [1, "px"]);
  }
}
