// Numbers as a person reads them.

import { angleAt, enclosedArea, pathLength } from "./geometry.mjs";

/** A round length for the scale bar: {length, pixels} at most `most` CSS pixels long. */
export function scaleBar(pixelSize, scale, most) {
  const limit = (most / scale) * pixelSize, power = 10 ** Math.floor(Math.log10(limit));
  const length = [5, 2, 1].map((n) => n * power).find((n) => n <= limit * (1 + 1e-9)) || power;
  return { length, pixels: (length / pixelSize) * scale };
}

const UNITS = ["pm", "nm", "um", "mm", "m"];
const POWERS = { pm: -12, nm: -9, um: -6, mm: -3, cm: -2, m: 0 };

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

/** A score of the model, or a dash. */
export function formatScore(value) {
  return value == null ? "–" : value.toFixed(3);
}

/** Where the cursor is and what is there; `grey` gives the value of a pixel. */
export function placeText(spot, { width, height }, { pixel, grey: unit }, grey) {
  if (!spot || spot.x < -0.5 || spot.y < -0.5 || spot.x >= width - 0.5 || spot.y >= height - 0.5) return "–";
  const parts = [`x ${spot.x.toFixed(1)}  y ${spot.y.toFixed(1)} px`];
  if (pixel) parts.push([spot.x, spot.y].map((v) => formatLength(v * pixel[0], pixel[1])).join(", "));
  parts.push(`grey ${grey(Math.round(spot.x), Math.round(spot.y))} ${unit}`);
  return parts.join("  ·  ");
}

/** An area in the square of the unit that leaves 1 to 10^6 before the point. */
export function formatArea(value, unit) {
  if (!Number.isFinite(value) || !(unit in POWERS)) return `${Number(value.toPrecision(4))} ${unit}²`;
  const metres = value * 100 ** POWERS[unit];
  let best = "pm";
  for (const u of UNITS) if (metres >= 100 ** POWERS[u] * 0.9999995) best = u;
  const shown = Number((value * 100 ** (POWERS[unit] - POWERS[best])).toPrecision(4));
  return `${shown} ${best === "um" ? "µm" : best}²`;
}

/** What was measured along corners: length and direction of one line, length and last angle of
 *  more, area and perimeter of a closed outline. `pixel` is [size, unit] or null. */
export function measureText(path, closed, pixel) {
  const [size, unit] = pixel || [1, "px"];
  const both = (text, value, sign) => (pixel ? `${text} (${Number(value.toPrecision(4))} ${sign})` : text);
  const length = (v) => both(formatLength(v * size, unit, 4), v, "px");
  if (path.length < 2) return "";
  if (closed) {
    const area = enclosedArea(path), perimeter = pathLength([...path, path[0]]);
    return `area ${both(formatArea(area * size * size, unit), area, "px²")}, perimeter ${length(perimeter)}`;
  }
  const text = `length ${length(pathLength(path))}`, [a, b, c] = path.slice(-3);
  if (path.length > 2) return `${text}, angle ${angleAt(a, b, c).toFixed(1)}°`;
  // as a person sees it: counter-clockwise from the right, of a line and not of an arrow
  const turn = (Math.atan2(a[1] - b[1], b[0] - a[0]) * 180) / Math.PI;
  return `${text}, ${((turn + 180) % 180).toFixed(1)}° to the horizontal`;
}
