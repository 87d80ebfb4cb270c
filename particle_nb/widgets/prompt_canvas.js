// The prompt canvas of particle_nb: one dependency-free module, no build step.
//
// The kernel owns the data. This file owns what only the browser needs: the view, strokes that
// are being drawn, the hover preview. First comes geometry as pure functions (tested under Node),
// then the widget.
//
// Coordinates: image pixels with pixel centres at integers (x along columns, y along rows).
// A view is {scale, x, y}: CSS pixels per image pixel, and the image position, counted from the
// outer corner of pixel (0, 0), that lies in the canvas's top left corner.

// ------------------------------------------------------------------------------ pure geometry

export const OKABE_ITO = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"];
const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];

/** Image position under a point of the screen. `rect` is where the canvas lies on the screen,
 *  `size` its own CSS size: they differ under CSS transforms and browser zoom. */
export function clientToImage(view, rect, size, clientX, clientY) {
  const cssX = ((clientX - rect.left) * size.width) / rect.width;
  const cssY = ((clientY - rect.top) * size.height) / rect.height;
  return { x: cssX / view.scale + view.x - 0.5, y: cssY / view.scale + view.y - 0.5 };
}

export function imageToClient(view, rect, size, x, y) {
  return {
    x: rect.left + ((x + 0.5 - view.x) * view.scale * rect.width) / size.width,
    y: rect.top + ((y + 0.5 - view.y) * view.scale * rect.height) / size.height,
  };
}

export function fitView(image, size, margin = 0) {
  const scale = Math.min((size.width - 2 * margin) / image.width, (size.height - 2 * margin) / image.height);
  return {
    scale,
    x: image.width / 2 - size.width / scale / 2,
    y: image.height / 2 - size.height / scale / 2,
  };
}

/** Zoom by a factor and keep what lies under (cssX, cssY) where it is. */
export function zoomAbout(view, factor, cssX, cssY, least, most) {
  const scale = Math.min(Math.max(view.scale * factor, least), most);
  return { scale, x: view.x + cssX / view.scale - cssX / scale, y: view.y + cssY / view.scale - cssY / scale };
}

export function panBy(view, dx, dy) {
  return { scale: view.scale, x: view.x - dx / view.scale, y: view.y - dy / view.scale };
}

/** Move a view by less than a device pixel so that image pixel (0, 0) begins on one: what is drawn
 *  then lies exactly where `clientToImage` says. */
export function snapView(view, ratio) {
  const k = view.scale * ratio;
  return { scale: view.scale, x: Math.round(view.x * k) / k, y: Math.round(view.y * k) / k };
}

/** Keep the middle of the canvas on the image. */
export function clampView(view, image, size) {
  const w = size.width / view.scale / 2, h = size.height / view.scale / 2;
  return {
    scale: view.scale,
    x: Math.min(Math.max(view.x + w, 0), image.width) - w,
    y: Math.min(Math.max(view.y + h, 0), image.height) - h,
  };
}

/** The visible part of the image, [x0, y0, x1, y1], ends exclusive. */
export function visibleBox(view, image, size) {
  return [
    Math.max(0, Math.floor(view.x)),
    Math.max(0, Math.floor(view.y)),
    Math.min(image.width, Math.ceil(view.x + size.width / view.scale)),
    Math.min(image.height, Math.ceil(view.y + size.height / view.scale)),
  ];
}

/** The pyramid level to draw from: level k has 2^k image pixels per pixel. */
export function levelFor(scale, levels) {
  return Math.min(Math.max(Math.floor(Math.log2(1 / scale) + 1e-9), 0), levels - 1);
}

/** Tiles [tx, ty] of a level that touch a box of image pixels. */
export function tilesIn(box, level, tile) {
  const step = tile * 2 ** level, found = [];
  for (let ty = Math.floor(box[1] / step); ty * step < box[3]; ty++)
    for (let tx = Math.floor(box[0] / step); tx * step < box[2]; tx++) found.push([tx, ty]);
  return found;
}

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

/** 256 display values for brightness (-1..1), contrast (0.2..5) and gamma (0.2..5) inside low..high. */
export function makeLut({ low = 0, high = 255, brightness = 0, contrast = 1, gamma = 1, invert = false } = {}) {
  const lut = new Uint8ClampedArray(256), span = Math.max(high - low, 1e-6);
  for (let v = 0; v < 256; v++) {
    let t = ((v - low) / span - 0.5) * contrast + 0.5 + brightness;
    t = Math.min(Math.max(t, 0), 1) ** (1 / gamma);
    lut[v] = 255 * (invert ? 1 - t : t);
  }
  return lut;
}

/** Bits packed row by row, first pixel in the highest bit -> one byte a pixel. */
export function unpackBits(bytes, width, height) {
  const out = new Uint8Array(width * height);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i], from = i;
    if (byte === 255) {
      while (bytes[i + 1] === 255) i++; // most of a large mask is all ones
      out.fill(1, 8 * from, 8 * i + 8);
    } else if (byte) for (let k = 0; k < 8; k++) out[8 * i + k] = (byte >> (7 - k)) & 1;
  }
  return out;
}

/** Lengths of runs row by row, of zeros and of ones in turn, zeros first -> one byte a pixel. */
export function unpackRuns(runs, width, height) {
  const out = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < runs.length; at += runs[i++]) if (i & 1) out.fill(1, at, at + runs[i]);
  return out;
}

/** Whether a mask {row, col, width, height, bits} covers the pixel around an image position. */
export function covers(mask, x, y) {
  const col = Math.round(x) - mask.col, row = Math.round(y) - mask.row;
  return col >= 0 && row >= 0 && col < mask.width && row < mask.height && mask.bits[row * mask.width + col] === 1;
}

/** Outlines along pixel edges, as closed rings [x0, y0, x1, y1, ...] in corner coordinates of the
 *  image (pixel i spans i to i+1); foreground on the right, so holes turn the other way. */
export function traceContours(mask) {
  const { bits, width: w, height: h, row, col } = mask;
  const W = w + 1, n = w * h, out = new Uint8Array(W * (h + 1)); // bit d: an edge leaves this corner, d = E S W N
  const starts = []; // corners, one of every ring among them
  const end = (at) => { const k = bits.indexOf(0, at); return k < 0 ? n : k; };
  // only the ends of runs are looked at: a particle of 3000 px costs what its outline does
  let from = bits.indexOf(1), to = from < 0 ? n : end(from), above = [];
  for (let y = 0; y <= h; y++) {
    const first = y * w, line = y * W, runs = [];
    while (from >= 0 && from < first + w && y < h) {
      const a = Math.max(from - first, 0), b = Math.min(to - first, w);
      runs.push(a, b);
      out[line + b] |= 2;
      out[line + W + a] |= 8;
      starts.push(line + b);
      if (to > first + w) break; // it goes on in the next row
      from = bits.indexOf(1, to);
      if (from >= 0) to = end(from);
    }
    let i = 0, j = 0, x = 0;
    while (i < above.length || j < runs.length) {
      const next = Math.min(above[i] ?? W, runs[j] ?? W);
      if (i % 2 < j % 2) for (starts.push(line + x); x < next; x++) out[line + x] |= 1;
      else if (i % 2 > j % 2) for (; x < next; x++) out[line + x + 1] |= 4;
      x = next;
      if (above[i] === next) i++;
      if (runs[j] === next) j++;
    }
    above = runs;
  }
  const step = [1, W, -1, -W], rings = [];
  for (const start of Int32Array.from(starts).sort()) {
    while (out[start]) {
      const ring = [];
      let here = start, direction = out[start] & 1 ? 0 : out[start] & 2 ? 1 : out[start] & 4 ? 2 : 3, last = -1;
      do {
        // at a corner where two pixels touch diagonally turn right first: they stay apart
        if (last >= 0)
          for (const turn of [1, 0, 3]) {
            const next = (last + turn) & 3;
            if (out[here] & (1 << next)) { direction = next; break; }
          }
        out[here] &= ~(1 << direction);
        if (direction !== last) ring.push(col + (here % W), row + Math.floor(here / W));
        last = direction;
        here += step[direction];
      } while (here !== start || out[start] & (1 << ((last + 1) & 3)));
      rings.push(ring);
    }
  }
  return rings;
}

/** Douglas-Peucker on a closed ring; never fewer than three corners. */
export function simplifyRing(ring, tolerance) {
  const n = ring.length / 2;
  if (n <= 4 || tolerance <= 0) return ring;
  let far = 0, most = -1;
  for (let i = 1; i < n; i++) {
    const d = (ring[2 * i] - ring[0]) ** 2 + (ring[2 * i + 1] - ring[1]) ** 2;
    if (d > most) { most = d; far = i; }
  }
  const keep = new Uint8Array(n);
  keep[0] = keep[far] = 1;
  const stack = [[0, far], [far, n]];
  while (stack.length) {
    const [a, b] = stack.pop();
    const ax = ring[2 * a], ay = ring[2 * a + 1], bx = ring[2 * (b % n)], by = ring[2 * (b % n) + 1];
    const ux = bx - ax, uy = by - ay, length = ux * ux + uy * uy || 1;
    let worst = tolerance * tolerance, at = -1;
    for (let i = a + 1; i < b; i++) {
      const px = ring[2 * i] - ax, py = ring[2 * i + 1] - ay;
      const t = Math.min(Math.max((px * ux + py * uy) / length, 0), 1);
      const d = (px - t * ux) ** 2 + (py - t * uy) ** 2;
      if (d > worst) { worst = d; at = i; }
    }
    if (at >= 0) { keep[at] = 1; stack.push([a, at], [at, b]); }
  }
  const out = [];
  for (let i = 0; i < n; i++) if (keep[i]) out.push(ring[2 * i], ring[2 * i + 1]);
  return out.length >= 6 ? out : ring;
}

/** A round length for the scale bar: {length, pixels} at most `most` CSS pixels long. */
export function scaleBar(pixelSize, scale, most) {
  const limit = (most / scale) * pixelSize, power = 10 ** Math.floor(Math.log10(limit));
  const length = [5, 2, 1].map((n) => n * power).find((n) => n <= limit * (1 + 1e-9)) || power;
  return { length, pixels: (length / pixelSize) * scale };
}

const UNITS = ["pm", "nm", "um", "mm", "m"], POWERS = { pm: -12, nm: -9, um: -6, mm: -3, cm: -2, m: 0 };

/** A length with the unit that leaves 1 to 1000 before the point. */
export function formatLength(value, unit, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  const shown = (v, u) => `${Number(v.toPrecision(digits))} ${u === "um" ? "µm" : u}`;
  if (!(unit in POWERS) || value === 0) return shown(value, unit);
  const metres = Math.abs(value) * 10 ** POWERS[unit];
  let best = "m";
  for (const u of UNITS) if (metres >= 10 ** POWERS[u] * 0.9999995) best = u;
  if (metres < 1e-12) best = "pm";
  return shown(value * 10 ** (POWERS[unit] - POWERS[best]), best);
}

/** The bin of a value between ascending edges, or -1. */
export function binOf(value, edges) {
  const n = edges.length - 1;
  if (!(value >= edges[0] && value <= edges[n])) return -1;
  let i = 0;
  while (i < n - 1 && value >= edges[i + 1]) i++;
  return i;
}

/** A colour of the viridis scale for t in 0..1; grey where t is no number. */
export function viridis(t) {
  if (!Number.isFinite(t)) return "rgb(128,128,128)";
  const p = Math.min(Math.max(t, 0), 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(p), VIRIDIS.length - 2);
  const mix = VIRIDIS[i].map((v, k) => Math.round(v + (p - i) * (VIRIDIS[i + 1][k] - v)));
  return `rgb(${mix.join(",")})`;
}

/** Least and greatest of the finite values. */
export function spread(values) {
  return values.reduce(([a, b], v) => (Number.isFinite(v) ? [Math.min(a, v), Math.max(b, v)] : [a, b]), [Infinity, -Infinity]);
}

/** Drop points of a drawn path that lie closer than `step` to the one before. */
export function thin(path, step) {
  const out = [];
  for (const p of path) {
    const q = out[out.length - 1];
    if (!q || Math.hypot(p[0] - q[0], p[1] - q[1]) >= step) out.push(p);
  }
  const end = path[path.length - 1];
  if (out.length && out[out.length - 1] !== end) out.push(end);
  return out;
}

export function pathLength(path) {
  let sum = 0;
  for (let i = 1; i < path.length; i++) sum += Math.hypot(path[i][0] - path[i - 1][0], path[i][1] - path[i - 1][1]);
  return sum;
}

// ------------------------------------------------------------------------------------ picture

const TILE = 512;

/** The image as 8-bit pixels in halving levels; only visible tiles are ever turned into colours. */
class Picture {
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

/** A mask as it came over the wire, with outlines for every zoom, traced when first drawn. */
class Shape {
  constructor(info, bytes) {
    Object.assign(this, { row: info.box[0], col: info.box[1], height: info.box[2] - info.box[0], width: info.box[3] - info.box[1] });
    this.packed = info.runs ? new Uint32Array(bytes.slice().buffer) : bytes;
    this.unpack = info.runs ? unpackRuns : unpackBits;
    this.paths = new Map();
  }

  /** One byte a pixel, made when first needed: of a draft's candidates one is shown. */
  get bits() {
    return (this.pixels ??= this.unpack(this.packed, this.width, this.height));
  }

  path(scale) {
    const level = scale >= 3 ? -1 : Math.max(0, Math.ceil(Math.log2(1 / scale)));
    let path = this.paths.get(level);
    if (!path) {
      if (!this.rings) this.rings = traceContours(this);
      path = new Path2D();
      for (const ring of this.rings) {
        const points = simplifyRing(ring, level < 0 ? 0 : level ? 0.4 * 2 ** level : 0.75);
        path.moveTo(points[0], points[1]);
        for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
        path.closePath();
      }
      this.paths.set(level, path);
    }
    return path;
  }

  meets(box) {
    return this.col < box[2] && this.col + this.width > box[0] && this.row < box[3] && this.row + this.height > box[1];
  }
}

// ------------------------------------------------------------------------------------- widget

const ICONS = {
  select: "M5 3l10 6.2-4.6 1-2.2 4.6z",
  point: "M10 4v12M4 10h12",
  box: "M4 5h12v10H4z",
  sketch: "M5 12c-3-4 1-8 5-7.500s7 4 4 7-5 0-7 2 0 3 2 2.500",
  polygon: "M4 8l6-4 6 5-2.500 7h-7z",
  brush: "M16 4l-7 7M9 11c-2-.5-3.500.8-3.800 2.500S4 16 3.500 16.300c2.500.7 5.500.2 6.300-2.300.3-1.200 0-2.300-.8-3z",
  eraser: "M8 16h8M4.500 12.500l6.500-7 5 4.500-5.500 6H8z",
  split: "M10 2v3M10 7v2.500M10 11.500V14M10 16v2M7 5H3.500v10H7M13 5h3.500v10H13",
  merge: "M7.500 5a5 5 0 100 10 5 5 0 005-5 5 5 0 00-5-5zM12.500 5a5 5 0 110 10",
  fill: "M10 3a7 7 0 100 14 7 7 0 000-14zM10 8a2 2 0 110 4 2 2 0 010-4z",
  remove: "M4 6h12M8 6V4h4v2M6 6l.7 10h6.600L14 6",
  undo: "M7 4L3.500 7.500 7 11M4 7.500h7.500a4 4 0 010 8H8",
  redo: "M13 4l3.500 3.500L13 11M16 7.500H8.500a4 4 0 000 8H12",
  commit: "M4 10.500l4 4 8-9",
  cancel: "M5 5l10 10M15 5L5 15",
  next: "M4 5l6 5-6 5zM11 5l6 5-6 5z",
  refine: "M4 16l1-4 8-8 3 3-8 8zM11 6l3 3",
  fit: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  hover: "M2.500 10S5.500 5 10 5s7.500 5 7.500 5-3 5-7.500 5-7.500-5-7.500-5zM10 8a2 2 0 110 4 2 2 0 010-4z",
  doubt: "M5 17V4M5 4h10l-2.500 3.500L15 11H5",
  accept: "M10 3a7 7 0 100 14 7 7 0 000-14zM7 10l2.200 2.300L13.200 8",
  save: "M4 4h10l2 2v10H4zM7 4v4h6V4M7 16v-4h6v4",
  help: "M10 3a7 7 0 100 14 7 7 0 000-14zM8 8a2 2 0 113 1.700c-.7.500-1 .8-1 1.800M10 14v.3",
  eye: "M2.500 10S5.500 5 10 5s7.500 5 7.500 5-3 5-7.500 5-7.500-5-7.500-5zM10 8a2 2 0 110 4 2 2 0 010-4z",
  lock: "M6 9h8v7H6zM7.500 9V6.500a2.500 2.500 0 015 0V9",
  unlock: "M6 9h8v7H6zM7.500 9V6.500a2.500 2.500 0 014.800-1",
};

const TOOLS = [
  ["select", "Select", "A", "Click a particle; Shift adds, drag draws a frame"],
  ["point", "Segment by points", "S", "Click inside the particle; T or Alt turns the sign"],
  ["box", "Segment in a box", "B", "Drag a rough box around the particle"],
  ["sketch", "Segment from a sketch", "K", "Draw roughly around the particle"],
  ["polygon", "Polygon by hand", "P", "Click corners; Enter or double click closes"],
  ["brush", "Brush", "D", "Paint into the selected particle, the draft, or a new one; [ ] size"],
  ["eraser", "Eraser", "E", "Take away from the selected particle or the draft; [ ] size"],
  ["split", "Split", "X", "Draw one stroke across a particle"],
];
const KEYS = [
  ["S A B K P D E X", "tools: points, select, box, sketch, polygon, brush, eraser, split"],
  ["click · Alt+click or right click", "point inside · point outside"],
  ["T", "turn the sign of the next point"],
  ["N", "next candidate"],
  ["W", "offer first: best, whole particle, feature on its surface"],
  ["C or Enter", "commit the particle (Enter also closes a polygon, and clicks at the crosshair)"],
  ["M", "new mask: commit and begin the next"],
  ["Esc · Backspace", "discard the draft, the stroke or the selection · the last corner of a polygon"],
  ["R", "refine the selected particle"],
  ["G · F · Del", "merge · fill holes · delete the selected"],
  ["Shift+click · Ctrl+A", "add to the selection · select all (tool A; drag draws a frame)"],
  ["[ ]", "smaller, larger brush"],
  ["V · L", "show or hide · lock or unlock the selected (V alone: all masks)"],
  ["Q", "next most doubtful particle"],
  ["Y · J", "accept · reject it"],
  ["H", "hover preview on or off"],
  ["Ctrl+Z · Ctrl+Shift+Z or Ctrl+Y", "undo · redo"],
  ["Ctrl+S", "save"],
  ["Space + drag · wheel", "move · zoom about the cursor (after a click into the picture)"],
  ["0 · 1 · + −", "fit · one to one · zoom"],
  ["arrows · Shift+arrows", "crosshair by 8 · by 1 screen pixel (Alt: move the view)"],
  ["Tab · Shift+Tab", "tools, picture, panel and out of them; arrows move along the tools and the histogram"],
  ["?", "this list"],
];
/** Thresholds of the cascade: name, label, greatest value (0: that of the largest particle), step,
 *  the end at which it is off, its stage in the audit. */
const THRESHOLDS = [
  ["min_predicted_iou", "predicted IoU ≥", 1, 0.01, "low", "confidence"],
  ["min_stability", "stability ≥", 1, 0.01, "low", "stability"],
  ["min_area", "area ≥ (px)", 0, 1, "low", "area"],
  ["max_area", "area ≤ (px)", 0, 1, "high", "area"],
  ["min_contrast", "contrast ≥", 0.5, 0.005, "low", "contrast"],
  ["min_form_factor", "form factor ≥", 1, 0.01, "low", "form_factor"],
  ["duplicate_iou", "overlap IoU ≤", 1, 0.01, "high", "duplicates"],
];
const CHOICES = [
  ["nested", "nested masks", "resolve", "keep", "duplicates", "Of a mask and those inside it, the outer or the inner ones stay"],
  ["edge", "cut by the frame", "exclude", "keep", "edge", "Hide masks that touch the frame of the image"],
];

/** The thresholds with one changed; the area's two ends never cross. */
export function withThreshold(settings, key, value) {
  const next = { ...settings, [key]: value };
  if (key === "min_area" && value != null && next.max_area != null) next.min_area = Math.min(value, next.max_area);
  if (key === "max_area" && value != null && next.min_area != null) next.max_area = Math.max(value, next.min_area);
  return next;
}

/** Where a threshold stands on its slider, and back; areas are logarithmic, one end means off. */
export function thresholdToSlider(value, limit, area, off) {
  if (value == null) return off === "high" ? limit : 0;
  return Math.min(area ? Math.log1p(value) : value, limit);
}
export function sliderToThreshold(position, limit, area, off) {
  if (off === "high" ? position >= limit * 0.998 : position <= 0) return null;
  return area ? Math.max(1, Math.round(Math.expm1(position))) : Number(position.toFixed(4));
}

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((c) => c != null));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const icon = (name) =>
  s("svg", { viewBox: "0 0 20 20", "aria-hidden": "true", class: "pnb-icon" }, s("path", { d: ICONS[name] }));

class View {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.prefix = Math.random().toString(36).slice(2, 8);
    this.count = 0;
    this.pending = new Map();
    this.asked = new Map(); // points that the kernel has not answered yet
    this.particles = new Map();
    this.selection = new Set();
    this.anchor = null;
    this.draft = null;
    this.hover = null;
    this.tool = "point";
    this.target = "best";
    this.sign = 1;
    this.radius = 12;
    this.stroke = null;
    this.polygon = [];
    this.cross = null;
    this.cursor = null;
    this.style = { fill: true, contour: true, opacity: 0.35, colour: "particle", hideAll: false };
    this.tone = { low: 0, high: 255, brightness: 0, contrast: 1, gamma: 1, invert: false };
    this.hoverOn = true;
    this.hoverSeq = 0;
    this.sent = { hover: 0, probe: 0 };
    this.view = { scale: 1, x: 0, y: 0 };
    this.size = { width: 1, height: 1 };
    this.ratio = 1;
    this.frames = this.masksDrawn = 0;
    this.over = [];
    this.weight = 3;
    this.summary = null;
    this.history = { position: 0, length: 0 };
    this.build();
    this.onMessage = (message, buffers) => this.receive(message, buffers || []);
    model.on("msg:custom", this.onMessage);
    this.onLive = () => this.kernelGone();
    model.on("comm_live_update", this.onLive);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
    this.watch = setInterval(() => this.checkPending(), 1000);
    this.watchRatio();
    this.request("ready");
  }

  destroy() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onLive);
    this.observer.disconnect();
    clearInterval(this.watch);
    clearTimeout(this.crisp);
    clearTimeout(this.telling);
    this.screen?.removeEventListener("change", this.onScreen);
    this.output?.classList.remove("pnb-output");
    cancelAnimationFrame(this.frame);
  }

  /** Another screen, or the browser's zoom: the cell may keep its size, its pixels do not. */
  watchRatio() {
    this.screen?.removeEventListener("change", this.onScreen);
    this.onScreen = () => { this.resize(); this.watchRatio(); };
    this.screen = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    this.screen.addEventListener("change", this.onScreen);
  }

  /** Below the live widget the kernel puts a picture for where no kernel runs; here it is hidden. */
  hideStill() {
    this.output = this.el.closest(".jp-OutputArea-child");
    this.output?.classList.add("pnb-output");
  }

  /** The strip of thumbnails below is drawn by the kernel, which does not know the cell's width. */
  tellWidth() {
    const width = Math.round(this.root.clientWidth);
    if (!width || width === this.toldWidth || this.root.dataset.state !== "ready" || this.root.dataset.kernel) return;
    clearTimeout(this.telling);
    if (!this.output) this.hideStill();
    this.telling = setTimeout(() => { this.toldWidth = width; this.request("width", { width, hides_still: !!this.output }); }, 150);
  }

  // ------------------------------------------------------------------------------- messages

  request(kind, content = {}) {
    const id = `${this.prefix}-${++this.count}`;
    if (["do", "undo", "redo", "save"].includes(kind)) this.error.hidden = true;
    this.pending.set(id, { kind, since: performance.now() });
    // Jupyter's server leaves Nagle's algorithm on: an answer soon after the kernel's "busy" would
    // wait up to 40 ms for its acknowledgement, which travels with whatever is sent from here
    const status = (said) => { if (said?.content?.execution_state === "busy" && this.pending.has(id)) this.model.send({ kind: "ack" }); };
    try {
      this.model.send({ id, kind, ...content }, { iopub: { status } });
    } catch (error) {
      this.pending.delete(id);
      this.kernelGone();
    }
    return id;
  }

  act(line) {
    return this.request("do", { line: { ...line } });
  }

  receive(message, buffers) {
    if (message.re) { this.pending.delete(message.re); if (this.asked.delete(message.re)) this.paintTop(); }
    if (message.re || message.kind === "image") this.banner.hidden = true;
    const mine = message.re && message.re.startsWith(this.prefix);
    if (message.kind === "image") this.receiveImage(message, buffers);
    else if (message.kind === "delta") this.receiveDelta(message, buffers);
    else if (message.kind === "hover" && mine) this.receiveHover(message, buffers);
    else if (message.kind === "value" && mine) {
      this.probing = false;
      this.value = message;
      this.showStatus();
      this.probe();
    } else if (message.kind === "next" && mine) this.goTo(message.particle, message.left);
    else if (message.kind === "kept" && mine) this.receiveKept(message);
    else if (message.kind === "saved" && mine) this.say(`saved as ${message.path}`);
    else if (message.kind === "select") this.select(message.ids, false);
    else if (message.kind === "error") {
      if (!message.re || mine) {
        if (message.of === "hover") this.hovering = false;
        if (message.of === "probe") this.probing = false;
        if (message.of === "filter") this.filtering = false;
        if (message.of !== "hover" && this.trying) { this.trying = null; this.showFilters(); }
        if (message.of === "hover") { this.hover = null; this.paintTop(); this.nextHover(); }
        else this.fail(message.message);
      }
    }
  }

  checkPending() {
    const now = performance.now();
    for (const { kind, since } of this.pending.values())
      if (now - since > 6000) {
        this.warn(kind === "ready" ? "No kernel has answered yet. If none is running, run the cell again; what was committed is saved."
          : "The kernel has not answered for some seconds: it is busy, or gone. Nothing is lost.");
        return;
      }
  }

  kernelGone() {
    this.pending.clear();
    this.asked.clear();
    this.paintTop();
    this.hovering = this.probing = this.filtering = false;
    this.root.dataset.kernel = "gone";
    this.warn("The kernel is gone. The picture stays as it was; run the cell again to go on: committed masks were saved.");
  }

  warn(text) {
    this.banner.textContent = text;
    this.banner.hidden = false;
  }

  fail(text) {
    this.error.firstChild.textContent = text;
    this.error.hidden = false;
    this.root.dataset.errors = Number(this.root.dataset.errors || 0) + 1;
  }

  say(text) {
    this.live.textContent = text;
    this.hint.textContent = text;
  }

  async receiveImage(message, buffers) {
    if (message.first || !this.incoming) this.incoming = new Picture(message.width, message.height, message.channels);
    const picture = this.incoming;
    await Promise.all(message.tiles.map(([x, y], i) => picture.put(x, y, buffers[i])));
    picture.arrived = (picture.arrived || 0) + message.tiles.length;
    if (picture.arrived < message.total) return;
    picture.finish();
    const fresh = !this.picture;
    this.picture = picture;
    this.info = message;
    Object.assign(this.tone, { low: message.low, high: message.high });
    picture.setLut(this.tone);
    if (fresh) { this.resize(); this.fit(); }
    this.ready();
    this.paint();
  }

  ready() {
    if (this.picture && this.summary) {
      if (this.root.dataset.state === "ready") return;
      this.root.dataset.state = "ready";
      this.root.removeAttribute("aria-busy");
      this.hideStill();
      this.resize(); // the stage has a size only now
    }
  }

  receiveDelta(message, buffers) {
    if (message.full) { this.particles.clear(); this.columns = message.columns; this.fillColours(message); }
    let touched = false; // whether something that is selected went or changed
    for (const id of message.removes) { this.particles.delete(id); touched = this.selection.delete(id) || touched; }
    const refined = this.draft?.refines ?? null;
    // whether particles were only added, behind the others
    let behind = !message.full && !message.removes.length, top = message.upserts.length ? [...this.particles.keys()].pop() ?? 0 : 0;
    for (const info of message.upserts) {
      const old = this.particles.get(info.id);
      touched ||= this.selection.has(info.id);
      if (info.id > top) top = info.id;
      else behind = false;
      const shape = info.buffer == null ? old.shape : new Shape(info, new Uint8Array(buffers[info.buffer].buffer, buffers[info.buffer].byteOffset, buffers[info.buffer].byteLength));
      this.particles.set(info.id, { ...info, shape });
    }
    if (!behind) this.particles = new Map([...this.particles].sort((a, b) => a[0] - b[0]));
    if (message.draft !== undefined) {
      this.draft = message.draft && this.readDraft(message.draft, buffers);
      this.hover = null;
    }
    this.summary = message.summary || this.summary;
    this.history = message.history;
    if (message.full) Object.assign(this, { usual: message.usual, off: message.off });
    if (message.settings) { this.settings = message.settings; if (!this.wantedFilter) this.trying = null; }
    this.removed = message.removed || this.removed;
    if (message.select) this.select(message.select, false);
    else if (touched) { this.root.dataset.selected = [...this.selection].join(" "); this.showTexts(); }
    if (message.full || message.upserts.length || message.removes.length || message.summary) this.showPanel();
    this.seq = message.seq;
    this.showButtons();
    this.showStatus();
    this.ready();
    if (message.hint) this.say(message.hint);
    // a draft lies on the upper canvas, a new particle on top of the others: neither costs more
    // where there are many particles
    const done = () => { this.root.dataset.maskSeq = message.seq; };
    if (!behind || refined !== (this.draft?.refines ?? null)) this.paint(done);
    else if (message.upserts.length) this.paintOver(message.upserts.map(({ id }) => this.particles.get(id)), done);
    else this.paintTop(done);
  }

  readDraft(draft, buffers) {
    const read = (c) => ({ ...c, shape: new Shape(c, new Uint8Array(buffers[c.buffer].buffer, buffers[c.buffer].byteOffset, buffers[c.buffer].byteLength)) });
    return { ...draft, candidates: draft.candidates.map(read) };
  }

  receiveHover(message, buffers) {
    this.hovering = false;
    if (this.hoverOn && this.tool === "point" && this.cursor && message.seq === this.seq) {
      this.hover = this.readDraft(message.draft, buffers);
      this.paintTop(() => { this.root.dataset.hoverSeq = ++this.hoverSeq; });
    }
    this.nextHover();
  }

  // --------------------------------------------------------------------------------- layout

  build() {
    const button = (name, label, key, run, more = {}) =>
      h("button", { type: "button", class: "pnb-button", title: key ? `${label} (${key})` : label, "aria-label": label, "aria-keyshortcuts": key, "data-action": name, onclick: () => { run(); this.top.focus({ preventScroll: true }); }, ...more }, icon(more.icon || name));
    this.buttons = {};
    const make = (...args) => (this.buttons[args[0]] = button(...args));
    const group = (...children) => h("div", { class: "pnb-group", role: "group" }, ...children);
    this.signButton = h("button", { type: "button", class: "pnb-button pnb-sign", title: "Sign of the next point (T)", "aria-label": "Sign of the next point", "data-action": "sign", onclick: () => this.turnSign() }, "+");
    this.radiusBox = h("input", { type: "range", min: 1, max: 100, value: this.radius, class: "pnb-radius", title: "Brush radius in image pixels ([ ])", "aria-label": "Brush radius in image pixels", oninput: (e) => { this.radius = Number(e.target.value); this.paintTop(); } });
    this.targetBox = h("select", { class: "pnb-select", title: "Which candidate is offered first (W)", "aria-label": "Which candidate is offered first", onchange: (e) => this.setTarget(e.target.value) },
      h("option", { value: "best" }, "best"), h("option", { value: "whole" }, "whole particle"), h("option", { value: "feature" }, "feature on it"));
    this.bar = h("div", { class: "pnb-bar", role: "toolbar", "aria-label": "Annotation tools" },
      group(...TOOLS.map(([name, label, key]) => make(name, label, key, () => this.setTool(name), { "aria-pressed": "false" }))),
      group(this.signButton, this.targetBox, make("next", "Next candidate", "N", () => this.nextCandidate())),
      group(make("commit", "Commit the particle", "C", () => this.commit()), make("cancel", "Discard the draft", "Escape", () => this.cancel())),
      group(make("refine", "Refine the selected particle", "R", () => this.refine()), make("merge", "Merge the selected", "G", () => this.onSelected("merge")), make("fill", "Fill holes of the selected", "F", () => this.onSelected("fill")), make("remove", "Delete the selected", "Delete", () => this.onSelected("delete"))),
      group(make("doubt", "Next most doubtful particle", "Q", () => this.doubtful()), make("accept", "Accept it", "Y", () => this.judge("accept"))),
      group(make("undo", "Undo", "Control+Z", () => this.request("undo")), make("redo", "Redo", "Control+Shift+Z", () => this.request("redo"))),
      h("div", { class: "pnb-group pnb-radius-group" }, this.radiusBox),
      h("div", { class: "pnb-space" }),
      group(make("hover", "Hover preview", "H", () => this.toggleHover(), { "aria-pressed": "true" }), make("fit", "Fit the image", "0", () => this.fit()), make("save", "Save", "Control+S", () => this.request("save")), make("help", "Keys", "?", () => this.toggleHelp(), { "aria-expanded": "false" })));

    this.base = h("canvas", { class: "pnb-base", "aria-hidden": "true" });
    this.top = h("canvas", { class: "pnb-top", tabindex: "0", role: "application", "aria-roledescription": "annotation canvas", "aria-label": "Micrograph with particle masks. Press question mark for the keys." });
    this.live = h("div", { class: "pnb-live", role: "status", "aria-live": "polite" });
    this.banner = h("div", { class: "pnb-banner", role: "alert", hidden: true });
    this.error = h("div", { class: "pnb-error", role: "alert", hidden: true }, h("span"), h("button", { type: "button", "aria-label": "Dismiss", onclick: () => { this.error.hidden = true; this.top.focus({ preventScroll: true }); } }, "×"));
    this.help = h("div", { class: "pnb-help", role: "dialog", "aria-label": "Keys", tabindex: "0", hidden: true }, h("h4", {}, "Keys"), h("dl", {}, ...KEYS.flatMap(([key, text]) => [h("dt", {}, key), h("dd", {}, text)])));
    this.hud = h("div", { class: "pnb-hud" });
    this.legend = h("div", { class: "pnb-legend", hidden: true });
    this.stage = h("div", { class: "pnb-stage" }, this.base, this.top, this.hud, this.legend, this.error, this.help);
    this.place = h("span", { class: "pnb-place" }, "–");
    this.hint = h("span", { class: "pnb-hint" });
    this.zoomText = h("span", { class: "pnb-zoom" });
    this.statusBar = h("div", { class: "pnb-status" }, this.place, this.hint, this.zoomText);
    this.panel = h("div", { class: "pnb-panel" });
    this.buildPanel();
    this.root = h("div", { class: "pnb", "data-testid": "prompt-canvas", "data-state": "loading", "data-mask-seq": "0", "data-hover-seq": "0", "data-lm-suppress-shortcuts": "true", "aria-busy": "true" },
      this.banner, h("p", { class: "pnb-wait" }, "The image is on its way …"), this.bar, h("div", { class: "pnb-main" }, h("div", { class: "pnb-left" }, this.stage, this.statusBar), this.panel), this.live);
    this.el.append(this.root);
    this.root.view = this;

    const on = (name, run, options) => this.top.addEventListener(name, run, options);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", (e) => this.up(e));
    on("pointercancel", () => { clearTimeout(this.early); this.stroke = this.drag = null; this.paintTop(); });
    on("pointerleave", () => { this.cursor = null; this.hover = null; this.paintTop(); this.showStatus(); });
    on("dblclick", (e) => { if (this.tool === "polygon" && this.polygon.length) this.closePolygon(); e.preventDefault(); });
    on("contextmenu", (e) => e.preventDefault());
    on("wheel", (e) => this.wheel(e), { passive: false });
    on("blur", () => { this.space = false; });
    // JupyterLab acts on keys that bubble: an unprotected "x" would delete the cell
    this.root.addEventListener("keydown", (e) => { if (e.target === this.top || e.target.closest(".pnb-bar,.pnb-rows,.pnb-help")) this.key(e); e.stopPropagation(); });
    this.bar.addEventListener("focusin", (e) => this.rove(e.target));
    this.root.addEventListener("keyup", (e) => { if (e.key === " ") { this.space = false; this.showCursor(); } e.stopPropagation(); });
    this.setTool("point");
  }

  resize() {
    const width = this.stage.clientWidth, height = this.stage.clientHeight;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    const middle = { x: this.view.x + this.size.width / this.view.scale / 2, y: this.view.y + this.size.height / this.view.scale / 2 };
    // whole device pixels, reaching beyond the stage by a part of one: otherwise the browser
    // stretches the canvas, and what is drawn no longer lies where `clientToImage` says
    const wide = Math.ceil(width * ratio - 1e-6), high = Math.ceil(height * ratio - 1e-6);
    this.size = { width: wide / ratio, height: high / ratio };
    this.ratio = ratio;
    for (const canvas of [this.base, this.top]) {
      Object.assign(canvas, { width: wide, height: high });
      Object.assign(canvas.style, { width: `${this.size.width}px`, height: `${this.size.height}px` });
    }
    this.tellWidth();
    if (this.picture) {
      this.view.x = middle.x - this.size.width / this.view.scale / 2;
      this.view.y = middle.y - this.size.height / this.view.scale / 2;
      if (this.fitted) this.view = fitView(this.picture, this.size);
      this.view = snapView(this.view, ratio);
    }
    // painting here, not in the next frame, avoids a white flash while the cell is being dragged
    this.layerStale = true;
    if (this.picture) { this.drawBase(); this.showStatus(); }
    this.paintTop();
  }

  at(event) {
    return clientToImage(this.view, this.top.getBoundingClientRect(), this.size, event.clientX, event.clientY);
  }

  visible() {
    return visibleBox(this.view, this.picture, this.size);
  }

  limits() {
    const fit = fitView(this.picture, this.size).scale;
    return [Math.min(fit / 2, 1), 64];
  }

  look(view, fitted = false) {
    this.view = snapView(clampView(view, this.picture, this.size), this.ratio);
    this.fitted = fitted;
    this.showStatus();
    this.paintView();
  }

  fit() {
    if (this.picture) this.look(fitView(this.picture, this.size), true);
  }

  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    if (this.picture) this.look(zoomAbout(this.view, factor, x, y, ...this.limits()));
  }

  wheel(event) {
    if (document.activeElement !== this.top || !this.picture) return; // the notebook scrolls
    event.preventDefault();
    event.stopPropagation();
    const rect = this.top.getBoundingClientRect();
    const unit = event.deltaMode === 1 ? 30 : event.deltaMode === 2 ? 300 : 1;
    const x = ((event.clientX - rect.left) * this.size.width) / rect.width;
    const y = ((event.clientY - rect.top) * this.size.height) / rect.height;
    this.zoom(Math.exp(-Math.min(Math.max(event.deltaY * unit, -300), 300) * 0.002), x, y);
  }

  // ---------------------------------------------------------------------------------- tools

  setTool(name) {
    this.tool = name;
    this.stroke = this.mark = null;
    this.polygon = [];
    this.hover = null;
    for (const [tool, label, , text] of TOOLS) {
      this.buttons[tool].setAttribute("aria-pressed", String(tool === name));
      if (tool === name) this.say(`${label}: ${text}`);
    }
    this.root.dataset.tool = name;
    this.rove(this.buttons[name]);
    this.showCursor();
    this.paintTop();
  }

  showCursor() {
    this.top.style.cursor = this.space ? "grab" : this.tool === "select" ? "default" : this.tool === "brush" || this.tool === "eraser" ? "none" : "crosshair";
  }

  turnSign() {
    this.sign = 1 - this.sign;
    this.signButton.textContent = this.sign ? "+" : "−";
    this.signButton.dataset.sign = this.sign;
    this.say(this.sign ? "next point: inside the particle" : "next point: outside the particle");
    this.top.focus({ preventScroll: true });
    this.askHover();
  }

  toggleHover() {
    this.hoverOn = !this.hoverOn;
    this.hover = null;
    this.buttons.hover.setAttribute("aria-pressed", String(this.hoverOn));
    this.paintTop();
  }

  toggleHelp(show = this.help.hidden) {
    if (!show && this.help.contains(document.activeElement)) this.top.focus({ preventScroll: true });
    this.help.hidden = !show;
    this.buttons.help.setAttribute("aria-expanded", String(show));
  }

  commit() {
    if (this.tool === "polygon" && this.polygon.length) return this.closePolygon();
    this.act({ action: "commit" });
  }

  cancel() {
    this.error.hidden = true;
    if (this.stroke || this.polygon.length || this.mark) { this.stroke = this.mark = null; this.polygon = []; this.paintTop(); }
    else if (this.draft) this.act({ action: "cancel" });
    else if (!this.help.hidden) this.toggleHelp(false);
    else if (this.selection.size) this.select([]);
    else if (this.cross) { this.cross = null; this.paintTop(); }
  }

  nextCandidate() {
    if (!this.draft || this.draft.candidates.length < 2) return this.say("there is no other candidate");
    const choice = (this.draft.choice + 1) % this.draft.candidates.length;
    this.draft.choice = choice; // shown at once, told to the kernel
    this.paintTop();
    this.act({ action: "candidate", choice });
  }

  nextTarget() {
    const all = ["best", "whole", "feature"];
    this.setTarget(all[(all.indexOf(this.targetBox.value) + 1) % 3]);
  }

  /** Which candidate comes first: of this draft, and of those that follow. */
  setTarget(target) {
    this.target = this.targetBox.value = target;
    this.hover = null;
    if (this.draft) this.act({ action: "target", target });
    else this.say({ best: "offered first: the best", whole: "offered first: the whole particle", feature: "offered first: the feature on its surface" }[target]);
    this.askHover();
  }

  /** What a new draft starts with; one that is in the making keeps its own. */
  aim() {
    return { ...this.window(), ...(this.draft || this.target === "best" ? {} : { target: this.target }) };
  }

  refine() {
    if (this.selection.size !== 1) return this.fail("Select one particle to refine it.");
    this.act({ action: "refine", id: [...this.selection][0] });
    this.setTool("point");
  }

  onSelected(action) {
    if (!this.selection.size) return this.fail("No particle is selected; click one with the select tool (A) or in the list.");
    this.act({ action, ids: [...this.selection] });
  }

  toggle(field) {
    if (!this.selection.size) {
      if (field !== "visible") return this.fail("No particle is selected.");
      this.style.hideAll = !this.style.hideAll;
      this.say(this.style.hideAll ? "all masks are hidden; V shows them again" : "all masks are shown");
      this.showLegend();
      return this.paint();
    }
    const ids = [...this.selection], value = !ids.every((id) => this.particles.get(id)[field]);
    this.act({ action: "set", ids, [field]: value });
  }

  doubtful() { this.request("next", { after: [...this.selection][0] ?? null }); }

  judge(action) {
    if (!this.selection.size) return this.doubtful();
    this.act({ action, ids: [...this.selection] });
    this.doubtful();
  }

  goTo(id, left) {
    const particle = this.particles.get(id);
    if (!particle) { this.select([]); return this.say("no doubtful particle is left: all were accepted"); }
    this.select([id]);
    this.say(`particle ${id}${particle.iou == null ? "" : `, predicted IoU ${particle.iou.toFixed(2)}`}: Y accepts, J rejects; ${left} not accepted yet`);
    const { row, col, width, height } = particle.shape;
    const scale = Math.min(Math.max(Math.min(this.size.width / width, this.size.height / height) / 4, this.view.scale), this.limits()[1]);
    this.look({ scale, x: col + width / 2 - this.size.width / scale / 2, y: row + height / 2 - this.size.height / scale / 2 });
  }

  pick(x, y) {
    let best = null;
    for (const particle of this.particles.values())
      if (particle.visible && particle.kept && covers(particle.shape, x, y) && (!best || particle.area < best.area)) best = particle;
    return best;
  }

  select(ids, tell = true) {
    this.selection = new Set(ids.filter((id) => this.particles.has(id)));
    this.root.dataset.selected = [...this.selection].join(" ");
    this.showSelection();
    this.showButtons();
    this.paint();
    if (tell) this.request("select", { ids: [...this.selection] });
  }

  // -------------------------------------------------------------------------------- pointer

  down(event) {
    if (!this.picture) return;
    this.top.focus({ preventScroll: true });
    this.top.setPointerCapture?.(event.pointerId);
    event.preventDefault();
    this.cross = this.mark = null;
    const spot = this.at(event);
    if (this.space || event.button === 1) { this.drag = { x: event.clientX, y: event.clientY }; return; }
    if (event.button !== 0 && event.button !== 2) return;
    this.hover = null;
    if (this.tool === "point") {
      this.stroke = { kind: "point", path: [[spot.x, spot.y]], negative: event.altKey || event.button === 2 };
      // asked while a finger holds the button, the model has often answered when it goes up; a click
      // without any such time asks only once
      const label = this.stroke.negative ? 0 : this.sign;
      this.early = setTimeout(() => this.foresee(spot, label), 15);
    } else if (this.tool === "polygon") {
      if (event.detail > 1) return;
      const first = this.polygon[0];
      if (first && this.polygon.length > 2 && Math.hypot(first[0] - spot.x, first[1] - spot.y) * this.view.scale < 8) {
        this.closed = { at: event.timeStamp, x: event.clientX, y: event.clientY };
        return this.closePolygon();
      }
      // the second half of a double click on the first corner begins no other polygon
      if (this.closed && event.timeStamp - this.closed.at < 500 && Math.hypot(event.clientX - this.closed.x, event.clientY - this.closed.y) < 8) return;
      this.polygon.push([spot.x, spot.y]);
    } else this.stroke = { kind: this.tool, path: [[spot.x, spot.y]], add: event.shiftKey || event.ctrlKey || event.metaKey };
    this.paintTop();
  }

  move(event) {
    if (!this.picture) return;
    const spot = this.at(event);
    this.cursor = spot;
    if (this.drag) {
      const rect = this.top.getBoundingClientRect(), k = this.size.width / rect.width;
      const next = panBy(this.view, (event.clientX - this.drag.x) * k, (event.clientY - this.drag.y) * k);
      this.drag = { x: event.clientX, y: event.clientY };
      return this.look(next);
    }
    if (this.stroke && this.stroke.kind !== "point") {
      const events = event.getCoalescedEvents?.() || [];
      for (const e of events.length ? events : [event]) { const p = this.at(e); this.stroke.path.push([p.x, p.y]); }
    } else if (!this.stroke) this.askHover();
    this.showStatus();
    this.probe();
    this.paintTop();
  }

  up(event) {
    if (this.drag) { this.drag = null; return; }
    const stroke = this.stroke;
    this.stroke = null;
    clearTimeout(this.early);
    if (!stroke) return;
    const [first] = stroke.path, spot = this.at(event), here = [spot.x, spot.y];
    if (stroke.kind === "point") this.placePoint(first[0], first[1], stroke.negative ? 0 : this.sign);
    else this.finish(stroke, first, here);
    this.paintTop();
  }

  finish(stroke, first, last) {
    const path = thin([...stroke.path, last], Math.max(0.5, 1.5 / this.view.scale));
    const screen = Math.hypot(last[0] - first[0], last[1] - first[1]) * this.view.scale;
    const drawn = pathLength(path) * this.view.scale;
    if (stroke.kind === "select") {
      if (screen < 4) {
        const found = this.pick(first[0], first[1]), ids = new Set(stroke.add ? this.selection : []);
        if (found) { if (stroke.add && ids.has(found.id)) ids.delete(found.id); else ids.add(found.id); }
        return this.select([...ids]);
      }
      const [x0, x1] = [first[0], last[0]].sort((a, b) => a - b), [y0, y1] = [first[1], last[1]].sort((a, b) => a - b);
      const inside = [...this.particles.values()].filter((p) => p.visible && p.kept && p.centre[0] >= x0 && p.centre[0] <= x1 && p.centre[1] >= y0 && p.centre[1] <= y1).map((p) => p.id);
      return this.select([...new Set([...(stroke.add ? this.selection : []), ...inside])]);
    }
    if (stroke.kind === "box") {
      if (screen < 4) return this.say("drag from one corner of the box to the other");
      return this.act({ action: "box", box: [first[0], first[1], last[0], last[1]], ...this.aim() });
    }
    if (stroke.kind === "sketch") {
      if (drawn < 10) return this.say("draw around the particle with the button held");
      return this.act({ action: "sketch", path, ...this.aim() });
    }
    if (stroke.kind === "split") {
      if (drawn < 4) return this.say("draw a stroke across the particle");
      return this.act({ action: "split", path, ...(this.selection.size ? { ids: [...this.selection] } : {}) });
    }
    const id = !this.draft && this.selection.size === 1 ? { id: [...this.selection][0] } : {};
    if (stroke.kind === "brush") return this.act({ action: "brush", path, radius: this.radius, ...id });
    if (stroke.kind === "eraser") return this.act({ action: "erase", path, radius: this.radius, ...id });
  }

  placePoint(x, y, label) {
    this.clicked = performance.now();
    const id = this.act({ action: "point", x, y, label, ...this.aim() });
    // a model that is being loaded takes seconds: the click must not look lost meanwhile
    if (this.pending.has(id)) this.asked.set(id, [x, y, label]);
    this.paintTop();
  }

  closePolygon() {
    const path = thin(this.polygon, 0.25);
    this.polygon = [];
    if (path.length < 3) this.fail("A polygon needs three corners.");
    else this.act({ action: "polygon", path });
    this.paintTop();
  }

  /** The kernel decides from the view whether the part that is seen gets its own encoding. */
  window() {
    return { view: this.visible() };
  }

  askHover() {
    if (!this.hoverOn || this.tool !== "point" || !this.cursor || this.space || this.draft?.busy) return;
    const { x, y } = this.cursor;
    if (x < -0.5 || y < -0.5 || x > this.picture.width - 0.5 || y > this.picture.height - 0.5) { this.hover = null; return; }
    this.foresee({ x, y }, this.sign);
  }

  /** Ask what a click would give; the kernel keeps the answer for the click itself. */
  foresee({ x, y }, label) {
    if (x < -0.5 || y < -0.5 || x > this.picture.width - 0.5 || y > this.picture.height - 0.5) return;
    const about = [x, y, label, this.target, this.seq, this.view.scale].join();
    if (about === this.foreseen) return;
    this.foreseen = about;
    this.wanted = { x, y, label };
    this.nextHover();
  }

  nextHover() {
    if (this.hovering || !this.wanted || this.root.dataset.kernel === "gone") return;
    // one request in flight; what the cursor passed in the meantime is never asked
    for (const { kind } of this.pending.values()) if (kind === "do") { setTimeout(() => this.nextHover(), 30); return; }
    const { x, y, label } = this.wanted;
    this.wanted = null;
    this.hovering = true;
    this.sent.hover++;
    this.request("hover", { line: { x, y, label, ...this.aim() } });
  }

  /** Grey value under the cursor: known here for 8-bit images, asked from the kernel for others. */
  probe() {
    if (!this.info || this.info.exact || this.probing || !this.cursor) return;
    const x = Math.round(this.cursor.x), y = Math.round(this.cursor.y);
    if (this.value && this.value.x === x && this.value.y === y) return;
    if (x < 0 || y < 0 || x >= this.picture.width || y >= this.picture.height) return;
    this.probing = true;
    this.sent.probe++;
    this.request("probe", { x, y });
  }

  // ------------------------------------------------------------------------------------ keys

  key(event) {
    const key = event.key, low = key.toLowerCase(), command = event.ctrlKey || event.metaKey;
    const inBar = event.target !== this.top;
    if (inBar && (["Tab", "Enter", " "].includes(key) || (event.target.matches("input,select") && !["ArrowLeft", "ArrowRight"].includes(key)) || (event.target.closest(".pnb-rows") && ["ArrowUp", "ArrowDown"].includes(key)))) return;
    const done = () => { event.preventDefault(); };
    if (key === "Tab") return;
    if (event.target.closest(".pnb-help") && key !== "?" && key !== "Escape") return;
    if (event.target.closest(".pnb-bar") && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(key)) { this.alongBar(key); return done(); }
    if (command) {
      if (low === "z") { this.request(event.shiftKey ? "redo" : "undo"); done(); }
      else if (low === "y") { this.request("redo"); done(); }
      else if (low === "s") { this.request("save"); done(); }
      else if (low === "a") { this.select([...this.particles.values()].filter((p) => p.kept).map((p) => p.id)); done(); }
      return;
    }
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (key in arrows && this.picture) {
      const [dx, dy] = arrows[key];
      if (event.altKey) this.look(panBy(this.view, -dx * 60, -dy * 60));
      else this.moveCross(dx, dy, (event.shiftKey ? 1 : 8) / this.view.scale);
      return done();
    }
    const tool = TOOLS.find(([, , k]) => k.toLowerCase() === low);
    if (tool) { this.setTool(tool[0]); return done(); }
    const run = {
      c: () => this.commit(), enter: () => this.enter(), m: () => { if (this.draft) this.commit(); this.setTool("point"); },
      t: () => this.turnSign(), n: () => this.nextCandidate(), w: () => this.nextTarget(), r: () => this.refine(),
      g: () => this.onSelected("merge"), f: () => this.onSelected("fill"), delete: () => this.onSelected("delete"),
      backspace: () => (this.polygon.length ? (this.polygon.pop(), this.paintTop()) : this.onSelected("delete")),
      v: () => this.toggle("visible"), l: () => this.toggle("locked"), q: () => this.doubtful(), y: () => this.judge("accept"), j: () => this.judge("reject"),
      h: () => this.toggleHover(), "?": () => this.toggleHelp(), escape: () => this.cancel(),
      0: () => this.fit(), 1: () => this.zoom(1 / this.view.scale), "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8),
      "[": () => this.setRadius(this.radius / 1.25), "]": () => this.setRadius(this.radius * 1.25),
      " ": () => { this.space = true; this.showCursor(); },
    }[low];
    if (run) { run(); done(); }
  }

  /** A toolbar is one stop of the Tab key; arrows move in it (WAI-ARIA, pattern "toolbar"). */
  rove(item) {
    for (const other of this.bar.querySelectorAll("button, select, input")) other.tabIndex = other === item ? 0 : -1;
  }

  alongBar(key) {
    const items = [...this.bar.querySelectorAll("button, select, input")].filter((n) => n.offsetParent), at = items.indexOf(document.activeElement), n = items.length;
    items[{ ArrowLeft: (at + n - 1) % n, ArrowRight: (at + 1) % n, Home: 0, End: n - 1 }[key]].focus();
  }

  setRadius(radius) {
    this.radius = Math.min(Math.max(Math.round(radius < this.radius ? Math.floor(radius) : Math.ceil(radius)), 1), 400);
    this.radiusBox.value = this.radius;
    this.say(`brush radius ${this.radius} px`);
    this.paintTop();
  }

  moveCross(dx, dy, step) {
    const [x0, y0, x1, y1] = this.visible();
    const from = this.cross || { x: (x0 + x1) / 2, y: (y0 + y1) / 2 };
    this.cross = {
      x: Math.min(Math.max(from.x + dx * step, 0), this.picture.width - 1),
      y: Math.min(Math.max(from.y + dy * step, 0), this.picture.height - 1),
    };
    const p = { x: (this.cross.x + 0.5 - this.view.x) * this.view.scale, y: (this.cross.y + 0.5 - this.view.y) * this.view.scale };
    const off = (v, most) => (v < 20 ? v - 20 : v > most - 20 ? v - most + 20 : 0);
    if (off(p.x, this.size.width) || off(p.y, this.size.height)) this.look(panBy(this.view, -off(p.x, this.size.width), -off(p.y, this.size.height)));
    this.cursor = this.cross;
    this.live.textContent = `x ${this.cross.x.toFixed(0)}, y ${this.cross.y.toFixed(0)}`;
    this.showStatus();
    this.askHover();
    this.paintTop();
  }

  enter() {
    if (this.tool === "polygon" && this.polygon.length > 2 && !this.cross) return this.closePolygon();
    if (this.cross) {
      const { x, y } = this.cross;
      this.cross = null;
      if (this.tool === "point") return this.placePoint(x, y, this.sign);
      if (this.tool === "polygon") { this.polygon.push([x, y]); return this.paintTop(); }
      if (this.tool === "select") { const found = this.pick(x, y); return this.select(found ? [found.id] : []); }
      if (this.tool === "brush" || this.tool === "eraser") return this.finish({ kind: this.tool, path: [[x, y]] }, [x, y], [x, y]);
      // the other tools take two corners: the first Enter sets one, the second the other
      if (!this.mark) { this.mark = [x, y]; this.say("first corner set; move the crosshair and press Enter again"); return this.paintTop(); }
      const path = [this.mark, [x, y]];
      this.mark = null;
      return this.finish({ kind: this.tool, path }, path[0], path[1]);
    }
    this.commit();
  }

  // ------------------------------------------------------------------------------- painting

  /** Masks, style or image changed: everything is drawn anew. */
  paint(then) {
    this.layerStale = true;
    this.paintView(then);
  }

  /** Particles came on top of the others: those stay as they are drawn, if colours do not depend on all. */
  paintOver(particles, then) {
    if (!["particle", "confidence"].includes(this.style.colour)) return this.paint(then);
    this.over.push(...particles);
    this.paintView(then);
  }

  /** Only the view moved. */
  paintView(then) {
    this.wantBase = true;
    this.paintTop(then);
  }

  paintTop(then) {
    if (then) (this.after ??= []).push(then);
    this.wantTop = true;
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = undefined;
    if (this.picture?.levels.length) {
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
    const k = this.view.scale * this.ratio;
    context.setTransform(k, 0, 0, k, -Math.round(this.view.x * k), -Math.round(this.view.y * k));
  }

  drawBase() {
    if (!this.picture?.levels.length) return;
    const context = this.base.getContext("2d", { alpha: false }), { view, style } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.fillStyle = "#14171a";
    context.fillRect(0, 0, this.base.width, this.base.height);
    this.picture.draw(context, view, this.size, this.ratio);
    if (style.hideAll || !this.particles.size) return;
    const kept = this.layerView, moved = !kept || kept.scale !== view.scale || kept.x !== view.x || kept.y !== view.y;
    clearTimeout(this.crisp);
    if (this.layerStale || (moved && (this.layerCost < 5 || this.over.length))) this.drawLayer();
    else if (moved) {
      // many masks cost more than a frame: while the view moves their picture moves with it,
      // and is drawn anew as soon as it rests or shows less than what is seen
      const zoom = view.scale / kept.scale, shown = visibleBox(kept, this.picture, this.size), now = this.visible();
      const inside = now[0] >= shown[0] && now[1] >= shown[1] && now[2] <= shown[2] && now[3] <= shown[3];
      if (zoom > 2.5 || (!inside && performance.now() - this.layerTime > 6 * this.layerCost)) this.drawLayer();
      else {
        const k = kept.scale * this.ratio;
        context.setTransform(zoom, 0, 0, zoom, Math.round((kept.x - view.x) * k * zoom), Math.round((kept.y - view.y) * k * zoom));
        context.imageSmoothingEnabled = true;
        context.drawImage(this.layer, 0, 0);
        context.setTransform(1, 0, 0, 1, 0, 0);
        this.crisp = setTimeout(() => this.paint(), 90);
        return;
      }
    } else if (this.over.length) this.layerCost += this.drawMasks(this.layer.getContext("2d"), this.over) / 10;
    this.over = [];
    context.drawImage(this.layer, 0, 0);
  }

  /** Fills and contours of the committed masks, on a transparent canvas of the view's size. */
  drawLayer() {
    if (!this.layer || this.layer.width !== this.base.width || this.layer.height !== this.base.height)
      this.layer = new OffscreenCanvas(this.base.width, this.base.height);
    const context = this.layer.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.layer.width, this.layer.height);
    const shown = this.drawMasks(context, [...this.particles.values()]);
    this.layerStale = false;
    this.layerView = { ...this.view };
    this.layerTime = performance.now();
    // drawing is queued, so it cannot be timed here: about 0.1 ms a mask without a graphics card
    this.layerCost = shown / 10;
  }

  /** Fills and contours of those particles that can be seen; how many that are. */
  drawMasks(context, particles) {
    this.toImageSpace(context);
    context.lineJoin = "round";
    const { view, style } = this, box = this.visible(), thin = 1.5 / view.scale, colours = this.colours();
    // what is being refined shows as its draft, not beneath it too
    const shown = particles.filter((p) => p.visible && p.kept && p.id !== this.draft?.refines && p.shape.meets(box));
    for (const particle of shown) {
      const path = particle.shape.path(view.scale), chosen = this.selection.has(particle.id);
      const colour = colours(particle);
      if (style.fill || chosen) {
        context.globalAlpha = chosen ? Math.min(style.opacity + 0.25, 1) : style.opacity;
        context.fillStyle = colour;
        context.fill(path, "evenodd");
      }
      context.globalAlpha = 1;
      if (chosen) {
        context.lineWidth = 4 * thin;
        context.strokeStyle = "#000";
        context.stroke(path);
        context.lineWidth = 2 * thin;
        context.strokeStyle = "#fff";
        context.stroke(path);
      } else if (style.contour) {
        context.lineWidth = thin;
        context.strokeStyle = colour;
        context.stroke(path);
      }
    }
    this.masksDrawn += shown.length;
    return shown.length;
  }

  colours() {
    const by = this.style.colour;
    if (by === "particle") return (p) => OKABE_ITO[(p.id - 1) % OKABE_ITO.length];
    if (by === "class") {
      const classes = this.classes();
      return (p) => (p.label ? OKABE_ITO[classes.indexOf(p.label) % OKABE_ITO.length] : "#999999");
    }
    const value = by === "confidence" ? (p) => p.iou ?? NaN : (p) => p.row?.[this.columns.indexOf(by)] ?? NaN;
    this.range ??= by === "confidence" ? [0, 1] : spread([...this.particles.values()].filter((p) => p.kept).map(value));
    const [low, high] = this.range;
    return (p) => viridis(high > low ? (value(p) - low) / (high - low) : 0.5);
  }

  /** What the colours mean, where they mean something. */
  showLegend() {
    const by = this.style.colour;
    this.legend.hidden = by === "particle" || this.style.hideAll;
    if (this.legend.hidden) return;
    const swatch = (colour) => { const i = h("i", { class: "pnb-swatch" }); i.style.background = colour; return i; };
    if (by === "class") {
      const classes = this.classes();
      return this.legend.replaceChildren(...[...classes.map((c, i) => [c, OKABE_ITO[i % OKABE_ITO.length]]), ["no class", "#999999"]].map(([c, colour]) => h("span", {}, swatch(colour), ` ${c}`)));
    }
    this.colours();
    const [low, high] = this.range, ramp = h("i", { class: "pnb-ramp" });
    ramp.style.background = `linear-gradient(to right, ${VIRIDIS.map((_, i) => viridis(i / (VIRIDIS.length - 1))).join(",")})`;
    const digits = high > low && Number(low.toPrecision(3)) === Number(high.toPrecision(3)) ? 6 : 3;
    const text = (v) => (Number.isFinite(v) ? String(Number(v.toPrecision(digits))) : "–");
    this.legend.replaceChildren(h("b", {}, by === "confidence" ? "predicted IoU" : by), h("span", {}, text(low)), ramp, h("span", {}, text(high)));
  }

  classes() {
    return [...new Set([...this.particles.values()].map((p) => p.label).filter(Boolean))].sort();
  }

  drawTop() {
    const context = this.top.getContext("2d"), { view } = this, thin = 1.5 / view.scale;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.top.width, this.top.height);
    this.toImageSpace(context);
    context.lineJoin = context.lineCap = "round";
    const outline = (path, colour, width, dash = []) => {
      context.setLineDash([]);
      context.globalAlpha = 0.85;
      context.lineWidth = (width + 2) * thin;
      context.strokeStyle = "rgba(0,0,0,.65)";
      context.stroke(path);
      context.setLineDash(dash.map((d) => d / view.scale));
      context.globalAlpha = 1;
      context.lineWidth = width * thin;
      context.strokeStyle = colour;
      context.stroke(path);
      context.setLineDash([]);
    };
    const candidate = this.draft?.candidates[this.draft.choice];
    if (candidate) {
      const path = candidate.shape.path(view.scale);
      context.globalAlpha = 0.4;
      context.fillStyle = "#56B4E9";
      context.fill(path, "evenodd");
      outline(path, "#ffffff", 1.6);
    }
    const guess = this.hover?.candidates[this.hover.choice];
    if (guess) {
      const path = guess.shape.path(view.scale);
      context.globalAlpha = 0.22;
      context.fillStyle = this.sign ? "#F0E442" : "#D55E00";
      context.fill(path, "evenodd");
      outline(path, this.sign ? "#F0E442" : "#D55E00", 1.2, [6, 4]);
    }
    const line = (points, close) => {
      const path = new Path2D();
      points.forEach(([x, y], i) => (i ? path.lineTo(x + 0.5, y + 0.5) : path.moveTo(x + 0.5, y + 0.5)));
      if (close) path.closePath();
      return path;
    };
    const rect = (x0, y0, x1, y1) => line([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], true);
    if (this.draft?.box) outline(rect(...this.draft.box), "#F0E442", 1, [5, 4]);
    const dot = (x, y, label, alpha = 1) => {
      const r = 5.5 / view.scale, path = new Path2D();
      path.arc(x + 0.5, y + 0.5, r, 0, 7);
      context.globalAlpha = alpha;
      context.fillStyle = label ? "#009E73" : "#D55E00";
      context.fill(path);
      context.lineWidth = thin;
      context.strokeStyle = "#fff";
      context.stroke(path);
      const sign = new Path2D();
      sign.moveTo(x + 0.5 - r / 2, y + 0.5);
      sign.lineTo(x + 0.5 + r / 2, y + 0.5);
      if (label) { sign.moveTo(x + 0.5, y + 0.5 - r / 2); sign.lineTo(x + 0.5, y + 0.5 + r / 2); }
      context.stroke(sign);
    };
    this.draft?.points.forEach(([x, y], i) => dot(x, y, this.draft.labels[i]));
    for (const point of this.asked.values()) dot(...point, 0.6);
    const stroke = this.stroke, path = stroke?.path, kind = stroke?.kind;
    if (path?.length) {
      const last = path[path.length - 1];
      if (kind === "box" || kind === "select") outline(rect(...path[0], ...last), kind === "box" ? "#F0E442" : "#fff", 1, [5, 4]);
      else if (kind === "sketch") outline(line(path, true), "#F0E442", 1.4);
      else if (kind === "split") outline(line(path), "#D55E00", 1.6);
      else if (kind === "brush" || kind === "eraser") {
        context.globalAlpha = 0.5;
        context.lineWidth = 2 * this.radius;
        context.strokeStyle = kind === "brush" ? "#56B4E9" : "#D55E00";
        context.stroke(line(path.length > 1 ? path : [path[0], path[0]]));
      }
    }
    if (this.polygon.length) {
      outline(line([...this.polygon, ...(this.cursor ? [[this.cursor.x, this.cursor.y]] : [])]), "#F0E442", 1.4);
      this.polygon.forEach(([x, y]) => { context.fillStyle = "#fff"; const r = 3 / view.scale; context.fillRect(x + 0.5 - r, y + 0.5 - r, 2 * r, 2 * r); });
    }
    if (this.cursor && (this.tool === "brush" || this.tool === "eraser")) {
      const ring = new Path2D();
      ring.arc(this.cursor.x + 0.5, this.cursor.y + 0.5, this.radius, 0, 7);
      outline(ring, "#fff", 1);
    }
    const cross = (p, colour) => {
      const r = 14 / view.scale, c = new Path2D();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        c.moveTo(p.x + 0.5 + (dx * r) / 3, p.y + 0.5 + (dy * r) / 3);
        c.lineTo(p.x + 0.5 + dx * r, p.y + 0.5 + dy * r);
      }
      outline(c, colour, 1.2);
    };
    if (this.mark) cross({ x: this.mark[0], y: this.mark[1] }, "#F0E442");
    if (this.cross) cross(this.cross, "#fff");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.drawScaleBar(context);
  }

  drawScaleBar(context) {
    const [size, unit] = this.info.pixel || [1, "px"];
    const { length, pixels } = scaleBar(size, this.view.scale, Math.min(160, this.size.width / 4));
    const x = this.size.width - pixels - 14, y = this.size.height - 14, text = formatLength(length, unit);
    context.globalAlpha = 1;
    context.font = "600 12px var(--jp-ui-font-family, system-ui), sans-serif";
    context.textAlign = "center";
    const wide = Math.max(pixels, context.measureText(text).width);
    context.fillStyle = "rgba(0,0,0,.6)";
    context.fillRect(x + pixels / 2 - wide / 2 - 7, y - 22, wide + 14, 30);
    context.fillStyle = "#fff";
    context.fillRect(x, y - 1, pixels, 3);
    context.fillText(text, x + pixels / 2, y - 7);
    this.root.dataset.scaleBar = text;
  }

  // ---------------------------------------------------------------------------------- panel

  showStatus() {
    const spot = this.cursor, p = this.picture;
    let text = "–";
    if (spot && p && spot.x >= -0.5 && spot.y >= -0.5 && spot.x < p.width - 0.5 && spot.y < p.height - 0.5) {
      const x = Math.round(spot.x), y = Math.round(spot.y), pixel = this.info.pixel;
      const grey = this.info.exact ? Array.from(p.data.subarray((y * p.width + x) * p.channels, (y * p.width + x + 1) * p.channels)).join(" ")
        : this.value && this.value.x === x && this.value.y === y ? this.value.text : "…";
      text = `x ${spot.x.toFixed(1)}  y ${spot.y.toFixed(1)} px`;
      if (pixel) text += `  ·  ${formatLength(spot.x * pixel[0], pixel[1])}, ${formatLength(spot.y * pixel[0], pixel[1])}`;
      text += `  ·  grey ${grey} ${this.info.grey}`;
    }
    this.place.textContent = text;
    this.zoomText.textContent = p ? `${(100 * this.view.scale).toFixed(this.view.scale < 1 ? 1 : 0)} %` : "";
    const draft = this.draft, candidate = draft?.candidates[draft.choice];
    this.hud.hidden = !draft;
    if (draft) {
      const score = (v) => (v == null ? "–" : v.toFixed(3));
      this.hud.replaceChildren(
        h("b", {}, draft.refines ? `refining ${draft.refines}` : "draft"),
        h("span", {}, candidate ? `candidate ${draft.choice + 1} of ${draft.candidates.length}` : "add a point inside"),
        h("span", { title: "predicted intersection over union" }, `IoU ${score(candidate?.iou)}`),
        h("span", { title: "stability under threshold shifts" }, `stability ${score(candidate?.stability)}`),
        ...(draft.window ? [h("span", { title: "the visible part was encoded at full resolution" }, "zoomed encoding")] : []));
      this.targetBox.value = draft.target;
    } else this.targetBox.value = this.target;
  }

  showButtons() {
    const many = this.selection.size;
    const able = { undo: this.history.position > 0, redo: this.history.position < this.history.length, commit: !!this.draft, cancel: !!this.draft, next: (this.draft?.candidates.length ?? 0) > 1, refine: many === 1, merge: many > 1, fill: many > 0, remove: many > 0, accept: many > 0 };
    for (const [name, yes] of Object.entries(able)) this.buttons[name].setAttribute("aria-disabled", String(!yes));
    this.root.dataset.position = this.history.position;
    this.root.dataset.count = this.summary?.count ?? 0;
  }

  slider(label, value, low, high, step, run, more = {}) {
    const out = h("output", {}, more.text ? more.text(value) : String(value));
    const input = h("input", { type: "range", min: low, max: high, step, value, "aria-label": label, ...more.attributes, oninput: () => { out.textContent = more.text ? more.text(Number(input.value)) : input.value; run(Number(input.value), false); }, onchange: () => run(Number(input.value), true) });
    return Object.assign(h("label", { class: "pnb-slider" }, h("span", {}, label), input, out), { input, out });
  }

  buildPanel() {
    this.numbers = h("div", { class: "pnb-numbers" });
    this.weightBox = h("select", { class: "pnb-select", "aria-label": "Weighting of the size distribution", onchange: () => { this.weight = Number(this.weightBox.value); this.showPanel(); } },
      h("option", { value: "3" }, "by volume (Q₃)"), h("option", { value: "0" }, "by number (Q₀)"));
    this.plot = s("svg", { class: "pnb-plot", role: "group", "aria-label": "Histogram of particle sizes; pick a bar to select its particles" });
    this.rows = h("div", { class: "pnb-rows", role: "listbox", "aria-multiselectable": "true", "aria-label": "Particles", tabindex: "0", onscroll: () => this.showRows(), onkeydown: (e) => this.rowKey(e), onclick: (e) => this.rowClick(e) });
    this.search = h("input", { type: "search", class: "pnb-input", placeholder: "filter list: number, name, class", "aria-label": "Filter the list of particles", oninput: () => this.showRows() });
    this.nameBox = h("input", { class: "pnb-input", placeholder: "name", "aria-label": "Name of the selected particle", onchange: () => this.setText("name", this.nameBox.value) });
    this.labelBox = h("input", { class: "pnb-input", placeholder: "class", "aria-label": "Class of the selected particles", list: `pnb-classes-${this.prefix}`, onchange: () => this.setText("label", this.labelBox.value) });
    this.classList = h("datalist", { id: `pnb-classes-${this.prefix}` });
    this.noteBox = h("input", { class: "pnb-input", placeholder: "note", "aria-label": "Note on the selected particle", onchange: () => this.setText("note", this.noteBox.value) });
    const small = (name, label, key, run) => h("button", { type: "button", class: "pnb-button pnb-small", title: `${label} (${key})`, "aria-label": label, onclick: run }, icon(name));
    this.edit = h("div", { class: "pnb-edit" }, h("div", { class: "pnb-edit-row" }, this.nameBox, this.labelBox, this.classList), h("div", { class: "pnb-edit-row" }, this.noteBox, small("eye", "Show or hide", "V", () => this.toggle("visible")), small("lock", "Lock or unlock", "L", () => this.toggle("locked"))));
    this.filters = h("div", { class: "pnb-sliders" });
    const tone = (key, label, low, high, step) => this.slider(label, this.tone[key], low, high, step, (v) => this.setTone(key, v), { text: (v) => v.toFixed(2) });
    const check = (label, key) => h("label", { class: "pnb-check" }, h("input", { type: "checkbox", checked: this.style[key], onchange: (e) => { this.style[key] = e.target.checked; this.paint(); } }), label);
    this.toneSliders = { brightness: tone("brightness", "brightness", -1, 1, 0.01), contrast: tone("contrast", "contrast", 0.2, 5, 0.05), gamma: tone("gamma", "gamma", 0.2, 5, 0.05) };
    this.colourBox = h("select", { class: "pnb-select", "aria-label": "Colour particles by", onchange: () => { this.style.colour = this.colourBox.value; this.range = null; this.showLegend(); this.showRows(); this.paint(); } });
    const section = (title, open, ...children) => h("details", { class: "pnb-section", ...(open ? { open: true } : {}) }, h("summary", {}, title), ...children);
    this.panel.append(
      section("Size", true, this.numbers, this.weightBox, this.plot),
      section("Particles", true, this.search, this.rows, this.edit),
      section("Filter", false, this.filters),
      section("View", false, h("div", { class: "pnb-sliders" }, ...Object.values(this.toneSliders), this.slider("opacity", this.style.opacity, 0, 1, 0.01, (v) => { this.style.opacity = v; this.paint(); }, { text: (v) => v.toFixed(2) })),
        h("div", { class: "pnb-checks" }, check("fills", "fill"), check("contours", "contour"), h("label", { class: "pnb-check" }, (this.invertBox = h("input", { type: "checkbox", onchange: (e) => this.setTone("invert", e.target.checked) })), "invert")),
        h("label", { class: "pnb-slider pnb-wide" }, h("span", {}, "colour by"), this.colourBox),
        h("button", { type: "button", class: "pnb-text-button", onclick: () => this.resetTone() }, "reset")));
  }

  fillColours(message) {
    const options = [["particle", "particle"], ["class", "class"], ["confidence", "predicted IoU"], ...message.columns.map((c) => [c, c])];
    this.colourBox.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
    this.colourBox.value = this.style.colour;
  }

  setTone(key, value) {
    this.tone[key] = value;
    this.picture?.setLut(this.tone);
    this.paint();
  }

  resetTone() {
    for (const [key, value] of [["brightness", 0], ["contrast", 1], ["gamma", 1]]) {
      this.tone[key] = this.toneSliders[key].input.value = value;
      this.toneSliders[key].out.textContent = value.toFixed(2);
    }
    this.tone.invert = this.invertBox.checked = false;
    this.picture?.setLut(this.tone);
    this.paint();
  }

  setText(field, value) {
    if (this.selection.size) this.act({ action: "set", ids: [...this.selection], [field]: value });
    else this.fail("No particle is selected.");
  }

  showPanel() {
    const data = this.summary;
    if (!data) return;
    const x = data.sizes[this.weight];
    const number = (name, value, title) => h("div", { title }, h("span", {}, name), h("b", {}, value));
    const size = (v) => (v == null ? "–" : formatLength(v, data.unit));
    this.numbers.replaceChildren(
      number("particles", data.count, "committed particles that pass the filter"), number("hidden", data.hidden, "particles that the filter hides"),
      number("coverage", `${(100 * data.coverage).toFixed(1)} %`, "share of the image covered by particles"),
      number("D10", size(x?.percentiles[0]), "10th percentile of x_A"), number("D50", size(x?.percentiles[1]), "median of x_A"), number("D90", size(x?.percentiles[2]), "90th percentile of x_A"));
    this.root.dataset.d50 = x?.percentiles[1] ?? "";
    this.range = null;
    this.showPlot();
    this.showFilters();
    this.showLegend();
    this.showRows();
    this.classList.replaceChildren(...this.classes().map((c) => h("option", { value: c })));
  }

  showPlot() {
    const data = this.summary, x = data.sizes[this.weight], W = 280, H = 120, L = 6, B = 20;
    this.plot.setAttribute("viewBox", `0 0 ${W} ${H}`);
    if (!x || !x.heights.length) return this.plot.replaceChildren(s("text", { x: W / 2, y: H / 2, "text-anchor": "middle", class: "pnb-axis" }, "no particle yet"));
    const edges = data.edges, n = x.heights.length, most = Math.max(...x.heights, 1e-12), column = data.size_column;
    const bins = edges.slice(1).map(() => []), k = this.columns.indexOf(column);
    for (const p of this.particles.values()) {
      const bin = p.kept && p.row ? binOf(p.row[k], edges) : -1;
      if (bin >= 0) bins[bin].push(p.id);
    }
    const wide = (W - 2 * L) / n, parts = [], full = bins.map((ids, i) => (ids.length ? i : -1)).filter((i) => i >= 0);
    // the bars are made anew with each selection: the one that had the focus keeps it, and only one
    // is a stop of the Tab key
    const focused = this.plot.contains(document.activeElement), nearest = (at) => full.reduce((best, i) => (Math.abs(i - at) < Math.abs(best - at) ? i : best), full[0] ?? -1);
    this.barAt = nearest(focused ? Number(document.activeElement.dataset.bin) : this.barAt ?? 0);
    for (let i = 0; i < n; i++) {
      const high = (x.heights[i] / most) * (H - B - 12), chosen = bins[i].filter((id) => this.selection.has(id)).length;
      const label = `${formatLength(edges[i], data.unit)} to ${formatLength(edges[i + 1], data.unit)}: ${bins[i].length} particles, ${(100 * x.heights[i]).toFixed(1)} %`;
      const pick = (e) => this.select([...new Set([...(e.shiftKey || e.ctrlKey ? this.selection : []), ...bins[i]])]);
      const bar = s("g", { class: "pnb-bin", "data-bin": i, role: "button", tabindex: i === this.barAt ? 0 : -1, "aria-label": label, "aria-pressed": String(chosen > 0) },
        s("title", {}, label),
        s("rect", { x: L + i * wide, y: 6, width: wide, height: H - B - 6, class: "pnb-back" }),
        s("rect", { x: L + i * wide + 0.75, y: H - B - high, width: Math.max(wide - 1.5, 0.5), height: high, class: "pnb-rect" }),
        s("rect", { x: L + i * wide + 0.75, y: H - B - (high * chosen) / (bins[i].length || 1), width: Math.max(wide - 1.5, 0.5), height: (high * chosen) / (bins[i].length || 1), class: "pnb-chosen" }));
      bar.addEventListener("click", pick);
      bar.addEventListener("focus", () => { this.barAt = i; });
      bar.addEventListener("keydown", (e) => {
        const k = full.indexOf(i), to = { ArrowLeft: full[k - 1], ArrowRight: full[k + 1], Home: full[0], End: full[full.length - 1] }[e.key];
        if (e.key === "Enter" || e.key === " ") pick(e);
        else if (to != null) this.plot.querySelector(`[data-bin="${to}"]`).focus();
        else return;
        e.preventDefault();
      });
      parts.push(bar);
    }
    let path = `M${L} ${H - B}`, sum = 0;
    x.heights.forEach((height, i) => { sum += height; path += `L${L + (i + 1) * wide} ${H - B - sum * (H - B - 12)}`; });
    parts.push(s("path", { d: path, class: "pnb-curve" }), s("path", { d: `M${L} ${H - B + 0.5}H${W - L}`, class: "pnb-line" }));
    for (const i of [0, Math.round(n / 2), n]) parts.push(s("text", { x: L + i * wide, y: H - 6, "text-anchor": i === 0 ? "start" : i === n ? "end" : "middle", class: "pnb-axis" }, formatLength(edges[i], data.unit, edges[n] < 1.6 * edges[0] ? 3 : 2)));
    this.plot.replaceChildren(...parts);
    if (focused) (this.plot.querySelector(`[data-bin="${this.barAt}"]`) || this.rows).focus({ preventScroll: true });
  }

  showFilters() {
    if (!this.summary.filterable) { this.filterSliders = null; return this.filters.replaceChildren(h("p", { class: "pnb-empty" }, "Thresholds act on proposals of the automatic mode; there are none here.")); }
    const settings = this.trying || this.settings, top = Math.log1p(this.summary.largest);
    if (!this.filterSliders) this.buildFilters(top);
    const count = (stage, first) => (first && this.removed?.[stage] ? `−${this.removed[stage]}` : "");
    const shown = new Set();
    for (const [key, , most, step, off, stage] of THRESHOLDS) {
      const { input, out, gone } = this.filterSliders[key], area = most === 0, value = settings[key];
      if (area && input.max < top) input.max = top;
      const position = thresholdToSlider(value, Number(input.max), area, off);
      // several places stand for the same area: a slider that is right already stays where it is
      if (sliderToThreshold(Number(input.value), Number(input.max), area, off) !== value) input.value = position;
      out.textContent = value == null ? "off" : area ? String(value) : value.toFixed(step < 0.01 ? 3 : 2);
      input.setAttribute("aria-valuetext", out.textContent);
      gone.textContent = count(stage, value != null && !shown.has(stage));
      if (value != null) shown.add(stage);
    }
    for (const [key, , on, , stage] of CHOICES) {
      const { input, gone } = this.filterSliders[key];
      input.checked = settings[key] === on;
      gone.textContent = count(stage, input.checked && !shown.has(stage));
    }
  }

  buildFilters(top) {
    this.filterSliders = {};
    const rows = THRESHOLDS.map(([key, label, most, step, off]) => {
      const area = most === 0, limit = area ? top : most;
      const run = (position, end) => this.changeFilter(key, sliderToThreshold(position, Number(slider.input.max), area, off), end);
      const slider = this.slider(label, 0, 0, limit, area ? limit / 400 : step, run, { text: () => "", attributes: { "data-filter": key } });
      slider.gone = h("small", { class: "pnb-gone", title: "proposals that this threshold hides" });
      slider.append(slider.gone);
      return (this.filterSliders[key] = slider);
    });
    const checks = CHOICES.map(([key, label, on, off, , title]) => {
      const input = h("input", { type: "checkbox", "data-filter": key, onchange: (e) => this.changeFilter(key, e.target.checked ? on : off, true) });
      const gone = h("small", { class: "pnb-gone", title: "proposals that this hides" });
      this.filterSliders[key] = { input, gone };
      return h("label", { class: "pnb-check", title }, input, label, gone);
    });
    const all = (name, title, pick) => h("button", { type: "button", class: "pnb-text-button", title, onclick: () => this.act({ action: "filter", settings: pick() }) }, name);
    this.filters.replaceChildren(...rows, h("div", { class: "pnb-checks" }, h("span", {}, "hide"), ...checks),
      h("div", { class: "pnb-checks" }, all("usual thresholds", "The defaults of FilterSettings", () => this.usual), all("all off", "Show every proposal", () => this.off)));
  }

  /** One threshold moved; the others stay what the kernel last said they are. */
  changeFilter(key, value, end) {
    const settings = withThreshold(this.trying || this.settings, key, value);
    if (end) {
      this.wantedFilter = null;
      const same = THRESHOLDS.concat(CHOICES).every(([k]) => settings[k] === this.settings[k]);
      this.trying = same ? null : settings;
      return same ? this.request("filter", { settings }) : this.act({ action: "filter", settings });
    }
    this.trying = this.wantedFilter = settings;
    this.showFilters();
    this.nextFilter();
  }

  nextFilter() {
    if (this.filtering || !this.wantedFilter) return;
    this.filtering = true;
    this.request("filter", { settings: this.wantedFilter });
    this.wantedFilter = null;
  }

  receiveKept(message) {
    this.filtering = false;
    const kept = new Set(message.kept);
    for (const id of message.of) { const p = this.particles.get(id); if (p) p.kept = kept.has(id); }
    this.removed = message.removed;
    this.summary = message.summary;
    this.showPanel();
    this.showButtons();
    this.paint(() => { this.root.dataset.filterSeq = Number(this.root.dataset.filterSeq || 0) + 1; });
    this.nextFilter();
  }

  listed() {
    const text = this.search.value.trim().toLowerCase();
    const all = [...this.particles.values()].filter((p) => p.kept);
    return text ? all.filter((p) => `${p.id} ${p.name} ${p.label} ${p.note}`.toLowerCase().includes(text)) : all;
  }

  /** Only the rows that can be seen are in the document: 5000 particles cost what 12 do. */
  showRows() {
    const all = (this.list = this.listed()), tall = 24, k = this.columns?.indexOf(this.summary?.size_column) ?? -1, colours = this.colours();
    const first = Math.max(0, Math.floor(this.rows.scrollTop / tall) - 2), last = Math.min(all.length, first + Math.ceil((this.rows.clientHeight || 190) / tall) + 4);
    const box = h("div", { class: "pnb-rows-box", style: `height:${all.length * tall}px`, role: "presentation" });
    for (let i = first; i < last; i++) {
      const p = all[i], chosen = this.selection.has(p.id);
      const swatch = h("i", { class: "pnb-swatch" });
      swatch.style.background = colours(p);
      box.append(h("div", { class: `pnb-row${chosen ? " pnb-on" : ""}${p.visible ? "" : " pnb-dim"}`, id: `${this.prefix}-row-${p.id}`, role: "option", "aria-selected": String(chosen), "aria-setsize": all.length, "aria-posinset": i + 1, "data-id": p.id, style: `top:${i * tall}px`, title: p.note || null },
        swatch, h("span", { class: "pnb-id" }, String(p.id)), h("span", { class: "pnb-name" }, p.name || p.label || "", p.name && p.label ? h("em", {}, ` ${p.label}`) : null),
        p.locked ? icon("lock") : null, p.review ? icon("commit") : null,
        h("span", { class: "pnb-size" }, k >= 0 && p.row ? formatLength(p.row[k], this.summary.unit) : ""),
        h("span", { class: "pnb-iou", title: "predicted IoU" }, p.iou == null ? "" : p.iou.toFixed(2))));
    }
    if (!all.length) box.append(h("p", { class: "pnb-empty" }, this.particles.size ? "nothing matches" : "Click a particle in the image, then press C."));
    this.rows.replaceChildren(box);
  }

  rowClick(event) {
    const row = event.target.closest(".pnb-row");
    if (!row) return;
    const id = Number(row.dataset.id), ids = new Set(event.shiftKey || event.ctrlKey || event.metaKey ? this.selection : []);
    if (event.shiftKey && this.anchor != null) {
      const order = this.list.map((p) => p.id), [a, b] = [order.indexOf(this.anchor), order.indexOf(id)].sort((x, y) => x - y);
      order.slice(Math.max(a, 0), b + 1).forEach((n) => ids.add(n));
    } else if (ids.has(id)) ids.delete(id);
    else ids.add(id);
    this.anchor = id;
    this.select([...ids]);
    this.reveal(id);
  }

  rowKey(event) {
    if (!["ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const order = this.list.map((p) => p.id), here = order.indexOf(this.anchor ?? [...this.selection].pop());
    const next = { ArrowUp: Math.max(here - 1, 0), ArrowDown: Math.min(here + 1, order.length - 1), Home: 0, End: order.length - 1 }[event.key];
    if (order[next] == null) return;
    this.anchor = order[next];
    this.select(event.shiftKey ? [...this.selection, order[next]] : [order[next]]);
    this.reveal(order[next]);
  }

  /** Move the view only if the particle is not in it. */
  reveal(id) {
    const p = this.particles.get(id), [x0, y0, x1, y1] = this.visible();
    if (p && (p.centre[0] < x0 || p.centre[0] > x1 || p.centre[1] < y0 || p.centre[1] > y1))
      this.look({ ...this.view, x: p.centre[0] - this.size.width / this.view.scale / 2, y: p.centre[1] - this.size.height / this.view.scale / 2 });
  }

  /** Name, class and note of the selected; what somebody is typing is left alone. */
  showTexts(typing = document.activeElement) {
    const ids = [...this.selection];
    const common = (field) => (ids.length && ids.every((id) => this.particles.get(id)[field] === this.particles.get(ids[0])[field]) ? this.particles.get(ids[0])[field] : "");
    for (const [box, field] of [[this.nameBox, "name"], [this.labelBox, "label"], [this.noteBox, "note"]]) {
      if (box !== typing || !ids.length) box.value = common(field);
      box.disabled = !ids.length;
    }
  }

  showSelection() {
    const ids = [...this.selection], only = ids.length === 1 ? this.particles.get(ids[0]) : null;
    this.showTexts(null);
    if (ids.length) {
      const at = this.listed().findIndex((p) => p.id === ids[ids.length - 1]), tall = 24;
      if (at >= 0 && (at * tall < this.rows.scrollTop || (at + 1) * tall > this.rows.scrollTop + this.rows.clientHeight)) this.rows.scrollTop = at * tall - this.rows.clientHeight / 2;
      this.rows.setAttribute("aria-activedescendant", `${this.prefix}-row-${ids[ids.length - 1]}`);
    }
    this.live.textContent = only ? `particle ${only.id} selected${only.label ? `, ${only.label}` : ""}` : ids.length ? `${ids.length} particles selected` : "";
    if (this.summary) { this.showRows(); this.showPlot(); }
  }
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.destroy();
}

export default { render };
