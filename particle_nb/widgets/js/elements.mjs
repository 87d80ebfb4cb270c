// Building the document: elements, SVG, icons, sliders.

/** An HTML element: `on...` are listeners, true is an empty attribute, false and null are none. */
export function element(tag, attributes = {}, ...children) {
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
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
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
  lasso: "M6 13c-5-2-3-9 4-9s9 6 4 8-8 1-9 3 1 3 2 1-1-3-3-3",
  measure: "M3 13L13 3l4 4L7 17zM6 10l1.500 1.500M8.500 7.500l1.500 1.500M11 5l1.500 1.500",
  scale: "M3 14h14M3 11v6M17 11v6M7 8l1.500-4h1l1.500 4M7.600 6.600h2.900",
  region: "M4 4h3M10 4h3M16 4v3M16 10v3M16 16h-3M10 16H7M4 16v-3M4 10V7",
  down: "M10 4v12M5 11l5 5 5-5",
  eye: "M2.500 10S5.500 5 10 5s7.500 5 7.500 5-3 5-7.500 5-7.500-5-7.500-5zM10 8a2 2 0 110 4 2 2 0 010-4z",
  lock: "M6 9h8v7H6zM7.500 9V6.500a2.500 2.500 0 015 0V9",
  unlock: "M6 9h8v7H6zM7.500 9V6.500a2.500 2.500 0 014.800-1",
};

export function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true", class: "pnb-icon" }, path);
}

/** A labelled slider with its value as `text` gives it; `run` takes the value and whether the hand
 *  let go. The label has `input` and `out` as properties. */
export function slider(label, { value, low, high, step, text = String, attributes = {} }, run) {
  const out = element("output", {}, text(value));
  const input = element("input", {
    type: "range", min: low, max: high, step, value, "aria-label": label, ...attributes,
    oninput: () => { out.textContent = text(Number(input.value)); run(Number(input.value), false); },
    onchange: () => run(Number(input.value), true),
  });
  const node = element("label", { class: "pnb-slider" }, element("span", {}, label), input, out);
  return Object.assign(node, { input, out });
}

export function textButton(text, title, run) {
  return element("button", { type: "button", class: "pnb-text-button", title, onclick: run }, text);
}
