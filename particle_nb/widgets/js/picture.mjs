// The image: 8-bit pixels in halving levels, turned into colours tile by tile.

import { makeLut } from "./colour.mjs";
import { levelFor, tilesIn, visibleBox } from "./geometry.mjs";

/** Half the size of interleaved 8-bit pixels by the mean of 2 x 2; an odd last line repeats. */
export function halve(data, width, height, channels = 1) {
  const w = Math.max(1, (width + 1) >> 1), h = Math.max(1, (height + 1) >> 1);
  const out = new Uint8Array(w * h * channels);
  for (let y = 0; y < h; y++) {
    const top = 2 * y * width * channels;
    const low = Math.min(2 * y + 1, height - 1) * width * channels;
    for (let x = 0; x < w; x++) {
      const left = 2 * x * channels, right = Math.min(2 * x + 1, width - 1) * channels;
      for (let c = 0; c < channels; c++)
        out[(y * w + x) * channels + c] =
          (data[top + left + c] + data[top + right + c] + data[low + left + c] + data[low + right + c] + 2) >> 2;
    }
  }
  return { data: out, width: w, height: h };
}

const TILE = 512;

/** The image as 8-bit pixels in halving levels; only visible tiles are ever turned into colours. */
export class Picture {
  constructor(width, height, channels) {
    Object.assign(this, { width, height, channels, levels: [], tiles: new Map(), lut: makeLut() });
    this.data = new Uint8Array(width * height * channels);
  }

  async put(x, y, bytes) {
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    const { width: w, height: h } = bitmap;
    const context = new OffscreenCanvas(w, h).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const rgba = context.getImageData(0, 0, w, h).data, n = this.channels;
    for (let r = 0; r < h; r++) {
      let to = ((y + r) * this.width + x) * n, from = r * w * 4;
      for (let c = 0; c < w; c++, from += 4) for (let k = 0; k < n; k++) this.data[to++] = rgba[from + k];
    }
  }

  finish() {
    this.levels = [{ data: this.data, width: this.width, height: this.height }];
    let top = this.levels[0];
    while (Math.max(top.width, top.height) > TILE) {
      top = halve(top.data, top.width, top.height, this.channels);
      this.levels.push(top);
    }
  }

  /** The grey value or colour of a pixel. */
  values(x, y) {
    const at = (y * this.width + x) * this.channels;
    return Array.from(this.data.subarray(at, at + this.channels));
  }

  setLut(settings) {
    this.lut = makeLut(settings);
    this.lut32 = new Uint32Array(256);
    for (let v = 0; v < 256; v++) this.lut32[v] = 0xff000000 | (this.lut[v] * 0x010101);
    this.tiles.clear();
  }

  tile(level, tx, ty) {
    const key = `${level}/${tx}/${ty}`;
    let found = this.tiles.get(key);
    if (found) {
      this.tiles.delete(key); // least recently used goes first
      this.tiles.set(key, found);
      return found;
    }
    const source = this.levels[level], x0 = tx * TILE, y0 = ty * TILE;
    const w = Math.min(TILE, source.width - x0), h = Math.min(TILE, source.height - y0);
    if (w <= 0 || h <= 0) return null;
    const pixels = new ImageData(w, h), rgba = new Uint32Array(pixels.data.buffer);
    for (let r = 0; r < h; r++) {
      const from = (y0 + r) * source.width + x0;
      if (this.channels === 1) for (let c = 0; c < w; c++) rgba[r * w + c] = this.lut32[source.data[from + c]];
      else
        for (let c = 0; c < w; c++) {
          const i = (from + c) * 3, lut = this.lut;
          rgba[r * w + c] = 0xff000000 | (lut[source.data[i + 2]] << 16) | (lut[source.data[i + 1]] << 8) | lut[source.data[i]];
        }
    }
    found = new OffscreenCanvas(w, h);
    found.getContext("2d").putImageData(pixels, 0, 0);
    this.tiles.set(key, found);
    if (this.tiles.size > 96) this.tiles.delete(this.tiles.keys().next().value);
    return found;
  }

  draw(context, view, size, ratio) {
    const level = levelFor(view.scale * ratio, this.levels.length), step = 2 ** level, scale = view.scale * ratio;
    context.imageSmoothingEnabled = scale < 1;
    const place = (edge, offset) => Math.round((edge - offset) * scale);
    for (const [tx, ty] of tilesIn(visibleBox(view, this, size), level, TILE)) {
      const tile = this.tile(level, tx, ty);
      if (!tile) continue;
      const x0 = place(tx * TILE * step, view.x), y0 = place(ty * TILE * step, view.y);
      // neighbours share rounded edges: no seams
      const x1 = place((tx * TILE + tile.width) * step, view.x), y1 = place((ty * TILE + tile.height) * step, view.y);
      context.drawImage(tile, x0, y0, x1 - x0, y1 - y0);
    }
  }
}
