// The tools, what each key does, and the list of keys that a person reads.

/** Name, label, key, what to do with it. */
export const TOOLS = [
  ["select", "Select", "A", "Click a particle; Shift adds, drag draws a frame"],
  ["point", "Segment by points", "S", "Click inside the particle; T or Alt turns the sign"],
  ["box", "Segment in a box", "B", "Drag a rough box around the particle"],
  ["sketch", "Segment from a sketch", "K", "Draw roughly around the particle"],
  ["polygon", "Polygon by hand", "P", "Click corners; Enter or double click closes"],
  ["brush", "Brush", "D", "Paint into the selected particle, the draft, or a new one; [ ] size"],
  ["eraser", "Eraser", "E", "Take away from the selected particle or the draft; [ ] size"],
  ["split", "Split", "X", "Draw one stroke across a particle"],
  ["lasso", "Select by lasso", "O", "Draw around particles; Shift adds"],
  ["scale", "Scale bar", "Z", "Drag along the bar in the picture, then type its length; Shift: in any direction"],
  ["region", "Region", "I", "Drag a rectangle or click corners of what is analysed; T: of what is left out"],
  ["measure", "Measure", "U", "Click corners: length, angle; Enter ends, a click on the first corner closes: area"],
];
/** What `?` shows and the documentation has. */
export const KEYS = [
  ["S B K P D E X", "tools: points, box, sketch, polygon, brush, eraser, split"],
  ["A · O · U", "tools: select · lasso · measure length, angle, area"],
  ["Z · I", "tools: scale from a bar in the picture · region that is analysed"],
  ["click · Alt+click", "point inside · point outside (right click too, while a particle is in the making)"],
  ["right click · Shift+F10", "menu of what lies there · at the crosshair"],
  ["T", "turn the sign of the next point; in a region: analysed or left out"],
  ["N", "next candidate"],
  ["W", "offer first: best, whole particle, feature on its surface"],
  ["C or Enter", "commit the particle (Enter also closes a polygon, and clicks at the crosshair)"],
  ["M", "new mask: commit and begin the next"],
  ["Esc · Backspace", "discard the draft, the stroke or the selection · the last corner of a polygon"],
  ["R", "refine the selected particle"],
  ["G · F · Del", "merge · fill holes · delete the selected"],
  ["Shift+click · Ctrl+A", "add to the selection · select all (tool A; drag draws a frame), or all that are listed"],
  ["Ctrl+C · Ctrl+V · Ctrl+D", "copy · paste at the cursor, in another annotator too · duplicate the selected"],
  ["[ ]", "smaller, larger brush"],
  ["V · L", "show or hide · lock or unlock the selected (V alone: all masks)"],
  ["1 2 3 4 5 6 7 8 9", "give that class of the palette to the selected, else to what is under the cursor"],
  ["Q", "next most doubtful particle, or the one whose class is least sure"],
  ["Y · J", "accept · reject it"],
  ["H", "hover preview on or off"],
  ["Ctrl+Z · Ctrl+Shift+Z or Ctrl+Y", "undo · redo"],
  ["Ctrl+S", "save"],
  ["Space + drag · wheel", "move · zoom about the cursor (after a click into the picture)"],
  ["0 · % · + −", "fit · one to one · zoom"],
  [", .", "the channel before, the next one: detectors one by one, or all of them"],
  ["arrows · Shift+arrows", "crosshair by 8 · by 1 screen pixel (Alt: move the view)"],
  ["Tab · Shift+Tab", "tools, picture, panel and out of them; arrows move along the tools and the histogram"],
  ["?", "this list"],
];

/** What a key does by itself: the name of a command and what it is given. */
export const COMMANDS = {
  c: ["commit"],
  enter: ["enter"],
  m: ["another"],
  t: ["turnSign"],
  n: ["nextCandidate"],
  w: ["nextTarget"],
  r: ["refine"],
  g: ["onSelected", "merge"],
  f: ["onSelected", "fill"],
  delete: ["onSelected", "delete"],
  backspace: ["back"],
  v: ["toggle", "visible"],
  l: ["toggle", "locked"],
  q: ["doubtful"],
  y: ["judge", "accept"],
  j: ["judge", "reject"],
  h: ["togglePreview"],
  "?": ["toggleHelp"],
  escape: ["cancel"],
  0: ["fit"],
  "%": ["oneToOne"],
  ",": ["channel", -1],
  ".": ["channel", 1],
  "+": ["zoom", 1.25],
  "=": ["zoom", 1.25],
  "-": ["zoom", 0.8],
  "[": ["scaleRadius", 0.8],
  "]": ["scaleRadius", 1.25],
  " ": ["hold", true],
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((key) => [key, ["classify", key]])),
};
const WITH_CONTROL = {
  z: ["undo"], y: ["redo"], s: ["save"], a: ["selectAll"], c: ["copy"], v: ["paste"], d: ["duplicate"],
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The command of a key event, [name, ...arguments], or null where the key means nothing. */
export function commandOf({ key, ctrlKey, metaKey, shiftKey, altKey }) {
  const low = key.toLowerCase();
  if (ctrlKey || metaKey) return low === "z" && shiftKey ? ["redo"] : WITH_CONTROL[low] ?? null;
  if (key === "ContextMenu" || (key === "F10" && shiftKey)) return ["menu"];
  if (key in ARROWS) {
    const [dx, dy] = ARROWS[key];
    return altKey ? ["pan", -dx * 60, -dy * 60] : ["moveCross", dx, dy, shiftKey ? 1 : 8];
  }
  const tool = TOOLS.find(([, , letter]) => letter.toLowerCase() === low);
  return tool ? ["take", tool[0]] : COMMANDS[low] ?? null;
}

/** Keys of the widget. JupyterLab acts on keys that bubble: an unprotected "x" would delete the cell. */
export class Keyboard {
  constructor({ root, top, store, hand, toolbar, list, commands }) {
    Object.assign(this, { top, store, toolbar, list, commands });
    this.names = Object.keys(COMMANDS);
    root.addEventListener("keydown", (event) => {
      if (event.target === top || event.target.closest(".pnb-bar,.pnb-rows,.pnb-help")) this.press(event);
      event.stopPropagation();
    });
    root.addEventListener("keyup", (event) => {
      if (event.key === " ") hand.grip(false);
      event.stopPropagation();
    });
  }

  press(event) {
    const { key, target } = event;
    if (key === "Tab" || (target !== this.top && this.#belongs(key, target))) return;
    if (target.closest(".pnb-help") && key !== "?" && key !== "Escape") return;
    if (target.closest(".pnb-bar") && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(key)) {
      this.toolbar.along(key);
      return event.preventDefault();
    }
    const [name, ...more] = commandOf(event) ?? [];
    if (!name || (key in ARROWS && !this.store.picture)) return;
    if (name === "selectAll" && target.closest(".pnb-rows")) this.list.selectAll();
    else this.commands[name](...more);
    event.preventDefault();
  }

  /** Whether a key means something to the element itself that has the focus. */
  #belongs(key, target) {
    if (key === "Enter" || key === " ") return true;
    if (target.matches("input,select")) return key !== "ArrowLeft" && key !== "ArrowRight";
    return !!target.closest(".pnb-rows") && (key === "ArrowUp" || key === "ArrowDown");
  }
}
