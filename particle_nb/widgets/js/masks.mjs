// Masks as they travel and as they are drawn: decoding, outlines, what lies under a point.

import { insideOutline } from "./geometry.mjs";

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

/** A mask as it came over the wire, with outlines for every zoom, traced when first drawn. */
export class Shape {
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

/** What a message says of one mask, with its pixels from the message's buffers. */
export function readMask(info, buffers) {
  const { buffer, byteOffset, byteLength } = buffers[info.buffer];
  return { ...info, shape: new Shape(info, new Uint8Array(buffer, byteOffset, byteLength)) };
}

/** The smallest particle that is seen at a position, or null. */
export function smallestAt(particles, x, y) {
  let best = null;
  for (const particle of particles)
    if (particle.visible && particle.kept && covers(particle.shape, x, y) && (!best || particle.area < best.area))
      best = particle;
  return best;
}

/** The numbers of the particles that are seen and have their centre in a box. */
export function centresIn(particles, [x0, y0, x1, y1]) {
  const inside = ({ visible, kept, centre: [x, y] }) => visible && kept && x >= x0 && x <= x1 && y >= y0 && y <= y1;
  return [...particles].filter(inside).map((p) => p.id);
}

/** The same for a drawn outline. */
export function centresAround(particles, path) {
  const inside = ({ visible, kept, centre }) => visible && kept && insideOutline(path, ...centre);
  return [...particles].filter(inside).map((p) => p.id);
}

/** Whether the model gives a mask less confidence than a limit, and nobody has accepted it. */
export function uncertain({ confidence, review }, limit) {
  return confidence != null && confidence < limit && !review;
}
