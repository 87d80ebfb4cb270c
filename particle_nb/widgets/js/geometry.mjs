// Where things lie: pure functions of points, views and paths.
//
// Coordinates: image pixels with pixel centres at integers (x along columns, y along rows).
// A view is {scale, x, y}: CSS pixels per image pixel, and the image position, counted from the
// outer corner of pixel (0, 0), that lies in the canvas's top left corner.

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

/** Whether a position lies on the image, its outermost pixels included. */
export function onImage({ x, y }, image) {
  return x >= -0.5 && y >= -0.5 && x <= image.width - 0.5 && y <= image.height - 0.5;
}

/** A rectangle's [x0, y0, x1, y1] from any two of its opposite corners. */
export function boxOf(a, b) {
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
}

/** Degrees between the arms from `b` to `a` and to `c`, 0 to 180; NaN where an arm has no length. */
export function angleAt(a, b, c) {
  const ux = a[0] - b[0], uy = a[1] - b[1], vx = c[0] - b[0], vy = c[1] - b[1];
  if (!(ux || uy) || !(vx || vy)) return NaN;
  return (Math.abs(Math.atan2(ux * vy - uy * vx, ux * vx + uy * vy)) * 180) / Math.PI;
}

/** The area inside corners in turn; where the outline crosses itself, parts cancel. */
export function enclosedArea(path) {
  let twice = 0;
  path.forEach(([x, y], i) => {
    const [u, v] = path[(i + 1) % path.length];
    twice += x * v - u * y;
  });
  return Math.abs(twice) / 2;
}

/** Whether a position lies inside a drawn outline (even-odd rule). */
export function insideOutline(path, x, y) {
  let inside = false;
  path.forEach(([ax, ay], i) => {
    const [bx, by] = path[(i + 1) % path.length];
    if (ay > y !== by > y && x < ax + ((y - ay) * (bx - ax)) / (by - ay)) inside = !inside;
  });
  return inside;
}
