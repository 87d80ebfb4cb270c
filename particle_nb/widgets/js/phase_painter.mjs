// The phase painter in its cell. The kernel owns strokes and result; here are the view and what is
// being drawn.

import { Camera } from "./camera.mjs";
import { element, icon, slider, textButton } from "./elements.mjs";
import { Fingers, STILL } from "./fingers.mjs";
import { Link } from "./link.mjs";
import { PAINT_KEYS, UNPAINTED, paintCommand, paintDoubt, paintLabels, penTool, phaseColour, putCrop, takenBack, thinned } from "./phases.mjs";
import { Picture } from "./picture.mjs";

const GONE = "The kernel is gone. Run the cell again to go on: what was painted was saved.";
const BUSY = "The kernel has not answered for some seconds: it is busy, or gone. Nothing is lost.";
const PAINT_TOOLS = [["brush", "Brush (D)"], ["eraser", "Eraser (E)"], ["polygon", "Polygon or lasso, filled (P)"]];

class PhaseView {
  constructor(model, el) {
    Object.assign(this, { el, tool: "brush", phase: 0, radius: 3, opacity: 0.4, result: true, doubt: false, corners: [] });
    this.camera = new Camera();
    this.fingers = new Fingers(this.camera);
    this.phases = [];
    this.root = element("div", {
      class: "pnb", "data-testid": "phase-painter", "data-state": "loading", "data-stroke-seq": "0", "data-result-seq": "0",
      "data-lm-suppress-shortcuts": "true", "aria-busy": "true",
    });
    this.base = element("canvas", { class: "pnb-base", "aria-hidden": "true" });
    this.top = element("canvas", {
      class: "pnb-top", tabindex: "0", role: "application", "aria-roledescription": "painting canvas",
      "aria-label": "Micrograph to paint phases on. Press question mark for the keys.",
    });
    this.build();
    this.link = new Link(model, {
      receive: (message, buffers) => this.receive(message, buffers),
      lost: () => { this.root.dataset.kernel = "gone"; this.warn(GONE); },
      slow: () => this.warn(BUSY),
      sent: () => {},
    });
    this.listen();
    this.root.view = this;
    this.link.request("ready");
  }

  build() {
    const button = (name, title, run) =>
      element("button", { type: "button", class: "pnb-button", title, "aria-label": title, onclick: run, "data-command": name }, icon(name));
    this.tools = PAINT_TOOLS.map(([name, title]) => button(name, title, () => this.take(name)));
    this.undoButton = button("undo", "Undo (Ctrl+Z)", () => this.undo());
    this.redoButton = button("redo", "Redo (Ctrl+Shift+Z)", () => this.redo());
    this.radiusSlider = slider("brush", { value: this.radius, low: 0.5, high: 60, step: 0.5, text: (v) => `${v} px` }, (v) => { this.radius = v; this.drawTop(); });
    this.opacitySlider = slider("opacity", { value: this.opacity, low: 0, high: 1, step: 0.05, text: (v) => `${Math.round(100 * v)} %` }, (v) => { this.opacity = v; this.draw(); });
    this.channels = element("select", { class: "pnb-select", "aria-label": "Detector shown", hidden: true, onchange: () => this.link.request("show", { channel: Number(this.channels.value) }) });
    this.resultBox = element("input", { type: "checkbox", checked: true, onchange: () => this.toggleResult() });
    this.doubtBox = element("input", { type: "checkbox", onchange: () => this.toggleDoubt() });
    this.palette = element("div", { class: "pnb-phases", role: "group", "aria-label": "Phases" });
    this.banner = element("div", { class: "pnb-banner", role: "alert", hidden: true });
    this.errorText = element("span");
    this.error = element("div", { class: "pnb-error", role: "alert", hidden: true }, this.errorText,
      element("button", { type: "button", "aria-label": "Dismiss", onclick: () => { this.error.hidden = true; } }, "×"));
    this.hint = element("span", { class: "pnb-hint", role: "status", "aria-live": "polite" });
    this.keysList = element("div", { class: "pnb-help", role: "dialog", "aria-label": "Keys", tabindex: "0", hidden: true },
      element("h4", {}, "Keys"), element("dl", {}, ...PAINT_KEYS.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)])));
    this.stage = element("div", { class: "pnb-stage" }, this.base, this.top, this.error, this.keysList);
    const group = (...parts) => element("div", { class: "pnb-group" }, ...parts);
    const box = (node, text) => element("label", {}, node, ` ${text}`);
    this.root.append(
      this.banner,
      element("p", { class: "pnb-wait" }, "The image is on its way …"),
      element("div", { class: "pnb-bar", role: "toolbar", "aria-label": "Painting" },
        group(...this.tools), group(this.undoButton, this.redoButton),
        group(button("save", "Save (Ctrl+S)", () => this.save()), button("fit", "Fit (0)", () => this.fit()), button("help", "Keys (?)", () => this.help())),
        this.channels),
      element("div", { class: "pnb-main" },
        element("div", { class: "pnb-left" }, this.stage, element("div", { class: "pnb-status" }, this.hint)),
        element("div", { class: "pnb-panel" },
          element("div", { class: "pnb-section" },
            this.palette, textButton("Add a phase", "One more phase to paint", () => this.link.request("add")),
            this.radiusSlider, this.opacitySlider, box(this.resultBox, "result (V)"), element("br"), box(this.doubtBox, "doubtful (C)")))));
    this.el.append(this.root);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
  }

  listen() {
    const on = (name, run, options) => this.top.addEventListener(name, run, options);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", (e) => this.up(e));
    on("pointercancel", (e) => this.lose(e));
    on("pointerleave", () => { this.cursor = null; this.drawTop(); });
    // Chromium takes a stroke that ends in motion for a fling, and the next tap, on a button, for its end
    on("touchstart", (e) => e.preventDefault(), { passive: false });
    on("dblclick", (e) => { e.preventDefault(); this.endCorners(); });
    on("contextmenu", (e) => e.preventDefault());
    // JupyterLab's own menu would cover what a resting finger or the pen's button paints
    this.root.addEventListener("contextmenu", (e) => e.stopPropagation());
    on("wheel", (e) => this.wheel(e), { passive: false });
    this.root.addEventListener("keydown", (event) => {
      if (event.target === this.top || event.target.closest(".pnb-bar,.pnb-help")) this.press(event);
      event.stopPropagation();
    });
    this.root.addEventListener("keyup", (event) => {
      if (event.key === " ") this.hold(false);
      event.stopPropagation();
    });
    this.camera.on("moved", () => this.draw());
  }

  press(event) {
    if (event.key === "Tab" || (event.target !== this.top && [" ", "Enter"].includes(event.key))) return;
    const [name, ...more] = paintCommand(event) ?? [];
    if (!name) return;
    this[name](...more);
    event.preventDefault();
  }

  // ---------------------------------------------------------------------------- commands

  take(tool) {
    this.tool = tool;
    this.corners = [];
    this.root.dataset.tool = tool;
    PAINT_TOOLS.forEach(([name], i) => this.tools[i].setAttribute("aria-pressed", name === tool));
    this.top.style.cursor = tool === "polygon" ? "crosshair" : "none";
    this.drawTop();
  }

  choose(phase) {
    if (phase >= this.phases.length) return this.say(`there are ${this.phases.length} phases; add one in the panel`);
    this.phase = phase;
    if (this.tool === "eraser") this.take("brush");
    this.root.dataset.phase = phase;
    this.showPalette();
    this.drawTop();
  }

  hold(on) { this.space = on; this.top.style.cursor = on ? "grab" : this.tool === "polygon" ? "crosshair" : "none"; }
  scaleRadius(factor) { this.radius = Math.min(Math.max(this.radius * factor, 0.5), 200); this.radiusSlider.input.value = this.radius; this.radiusSlider.out.textContent = `${this.radius.toFixed(1)} px`; this.drawTop(); }
  moreOpacity(step) { this.opacity = Math.min(Math.max(this.opacity + step, 0), 1); this.opacitySlider.input.value = this.opacity; this.opacitySlider.out.textContent = `${Math.round(100 * this.opacity)} %`; this.draw(); }
  toggleResult() { this.result = !this.result; this.resultBox.checked = this.result; this.draw(); }
  toggleDoubt() { this.doubt = !this.doubt; this.doubtBox.checked = this.doubt; this.draw(); }
  fit() { this.camera.fit(); }
  zoom(factor) { this.camera.zoom(factor); }
  undo() { this.link.request("undo"); }
  redo() { this.link.request("redo"); }
  save() { this.link.request("save"); }
  help() { this.keysList.hidden = !this.keysList.hidden; }
  cancel() { this.stroke = this.grip = null; this.corners = []; this.keysList.hidden = true; this.drawTop(); }
  backCorner() { this.corners.pop(); this.drawTop(); }

  endCorners() {
    const path = this.corners;
    this.corners = [];
    if (path.length >= 3) this.send("polygon", path);
    this.drawTop();
  }

  send(tool, path) {
    this.error.hidden = true;
    const least = Math.max(0.5, tool === "polygon" ? 0.7 : this.radius / 4);
    this.link.request("stroke", { tool, phase: this.phase, radius: this.radius, path: thinned(path, least) });
  }

  // ---------------------------------------------------------------------------- pointer

  at(event) {
    const { x, y } = this.camera.at(this.top.getBoundingClientRect(), event);
    return [x, y];
  }

  down(event) {
    if (!this.picture) return;
    this.top.focus({ preventScroll: true });
    this.top.setPointerCapture?.(event.pointerId);
    event.preventDefault();
    const { pointerType, pointerId: pointer, timeStamp: began } = event, tool = penTool(this.tool, event);
    // the hand that holds a pen rests on the screen: that is neither a stroke nor a second finger
    if (pointerType === "touch" && this.stroke?.pen) return;
    if (pointerType === "pen") this.fingers.clear();
    if (pointerType === "touch") {
      this.fingers.down(event);
      if (this.fingers.count > 1) return this.second(event);
    }
    if (this.space || event.button === 1) this.grip = [event.clientX, event.clientY];
    else if (event.button === 0 || tool !== this.tool)
      this.stroke = { tool, pointer, began, pen: pointerType === "pen", path: [this.at(event)] };
    this.drawTop();
  }

  /** A second finger: the two move the view, and what the first began just now is no stroke. */
  second({ timeStamp }) {
    const { stroke } = this;
    this.grip = this.stroke = this.cursor = null;
    if (stroke && !takenBack(stroke.tool, timeStamp - stroke.began, this.far(stroke))) this.send(stroke.tool, stroke.path);
    this.drawTop();
  }

  move(event) {
    if (!this.picture) return;
    this.fingers.move(event);
    if (this.fingers.count > 1) return this.fingers.pinch(this.top.getBoundingClientRect());
    const { stroke } = this;
    if (stroke && stroke.pointer !== event.pointerId) return;
    this.cursor = this.at(event);
    if (this.grip) {
      this.camera.pan(event.clientX - this.grip[0], event.clientY - this.grip[1]);
      this.grip = [event.clientX, event.clientY];
      return;
    }
    if (stroke) {
      const events = event.getCoalescedEvents?.() || [];
      for (const e of events.length ? events : [event]) stroke.path.push(this.at(e));
    }
    this.drawTop();
  }

  up(event) {
    const { stroke, corners } = this;
    this.fingers.up(event);
    if (stroke && stroke.pointer !== event.pointerId) return;
    this.grip = this.stroke = null;
    if (!stroke) return;
    const { tool, path } = stroke;
    path.push(this.at(event));
    if (tool !== "polygon" || this.far(stroke) > 6) this.send(tool, path);
    // a tap on the first corner closes: fingers have no Enter
    else if (corners.length > 2 && this.far({ path: [corners[0], path[0]] }) < STILL) this.endCorners();
    else corners.push(path[0]);
    this.drawTop();
  }

  /** The system took a pointer away; those that are left go on. */
  lose(event) {
    this.fingers.up(event);
    if (this.stroke?.pointer === event.pointerId) this.stroke = null;
    this.grip = this.cursor = null;
    this.drawTop();
  }

  /** How far a stroke reaches from where it began, CSS pixels. */
  far({ path: [[x0, y0], ...others] }) {
    return this.camera.view.scale * others.reduce((far, [x, y]) => Math.max(far, Math.hypot(x - x0, y - y0)), 0);
  }

  wheel(event) {
    if (document.activeElement !== this.top || !this.picture) return;
    event.preventDefault();
    event.stopPropagation();
    const rect = this.top.getBoundingClientRect();
    this.camera.zoom(Math.exp(-Math.min(Math.max(event.deltaY, -300), 300) * 0.002), event.clientX - rect.left, event.clientY - rect.top);
  }

  // ---------------------------------------------------------------------------- messages

  async receive(message, buffers) {
    if (message.re || message.kind === "image") this.banner.hidden = true;
    switch (message.kind) {
      case "image": return this.image(message, buffers);
      case "state": return this.state(message, buffers);
      case "result": return this.answer(message, buffers);
      case "say": return this.say(message.text);
      case "error": return this.fail(message.message);
    }
  }

  async image(message, buffers) {
    if (message.first) this.incoming = new Picture(message.width, message.height, message.channels);
    const picture = this.incoming;
    await Promise.all(message.tiles.map(([x, y], i) => picture.put(x, y, buffers[i])));
    picture.arrived = (picture.arrived || 0) + message.tiles.length;
    if (picture.arrived < message.total) return;
    picture.finish();
    picture.setLut({ low: message.low, high: message.high });
    const fresh = !this.picture;
    this.picture = picture;
    this.camera.image = picture;
    if (fresh) {
      this.labels = new Uint8Array(picture.width * picture.height).fill(UNPAINTED);
      this.painted = new OffscreenCanvas(picture.width, picture.height);
      if (this.waiting) this.state(...this.waiting);
    }
    this.root.dataset.state = "ready";
    this.root.removeAttribute("aria-busy");
    this.el.closest(".jp-OutputArea-child")?.classList.add("pnb-output");
    this.resize();
    if (fresh) this.camera.fit();
    this.draw();
  }

  state(message, buffers) {
    if (!this.picture) {
      this.waiting = [message, buffers];
      return;
    }
    const { width } = this.picture, box = message.box;
    if (box) {
      const bytes = buffers[0], crop = new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength);
      putCrop(this.labels, width, box, crop);
      const [r0, c0, r1, c1] = box;
      const shown = new ImageData(paintLabels(this.labels, width, box, 255), c1 - c0, r1 - r0);
      this.painted.getContext("2d").putImageData(shown, c0, r0);
    }
    this.phases = message.phases;
    this.undoButton.setAttribute("aria-disabled", message.position === 0);
    this.redoButton.setAttribute("aria-disabled", message.position === message.length);
    if (message.channels) {
      this.channels.hidden = message.channels.length < 2;
      this.channels.replaceChildren(...message.channels.map((name, i) => element("option", { value: i }, name)));
    }
    if (message.clear) this.found = null;
    this.showPalette();
    this.draw();
    this.root.dataset.position = message.position;
    this.root.dataset.strokeSeq = message.seq;
  }

  /** Labels and certainty of every `step`-th pixel, as PNGs. */
  async answer(message, buffers) {
    const { width, height } = message;
    const pictures = [new Picture(width, height, 1), new Picture(width, height, 1)];
    await Promise.all(pictures.map((p, i) => p.put(0, 0, buffers[i])));
    if (message.seq < (this.found?.seq ?? 0)) return;
    const canvas = (rgba) => {
      const made = new OffscreenCanvas(width, height);
      made.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
      return made;
    };
    const [labels, certainty] = pictures.map((p) => p.data);
    const colours = canvas(paintLabels(labels, width, [0, 0, height, width], 255));
    this.found = { seq: message.seq, step: message.step, width, height, colours, doubt: canvas(paintDoubt(certainty)) };
    this.phases = message.phases;
    this.showPalette();
    this.draw();
    this.root.dataset.step = message.step;
    this.root.dataset.resultSeq = message.seq;
  }

  // ---------------------------------------------------------------------------- showing

  /** Rows stay where they are: answers come at any time, also between down and up on a button. */
  showPalette() {
    const rows = this.palette.children;
    while (rows.length < this.phases.length) this.palette.append(this.row(rows.length));
    this.phases.forEach(({ name, fraction, painted }, i) => {
      const [button, input, share] = rows[i].children;
      const about = { title: `paint ${name} (${i + 1}); ${painted} px painted`, "aria-label": `paint ${name}`, "aria-pressed": i === this.phase };
      for (const [key, value] of Object.entries(about)) button.setAttribute(key, value);
      if (input !== document.activeElement) input.value = name;
      share.textContent = fraction == null ? "" : `${(100 * fraction).toFixed(1)} %`;
    });
  }

  row(phase) {
    const [r, g, b] = phaseColour(phase), mark = element("i", { class: "pnb-swatch" });
    mark.style.background = `rgb(${r},${g},${b})`;
    const input = element("input", {
      class: "pnb-input", "aria-label": `name of phase ${phase}`,
      onchange: () => this.link.request("rename", { phase, name: input.value }),
    });
    const choose = () => { this.choose(phase); this.top.focus({ preventScroll: true }); };
    return element("div", { class: "pnb-edit-row" },
      element("button", { type: "button", class: "pnb-button", onclick: choose }, mark), input, element("span", { class: "pnb-size" }));
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1, wide = Math.ceil(width * ratio - 1e-6), high = Math.ceil(height * ratio - 1e-6);
    this.camera.resize(wide / ratio, high / ratio, ratio);
    for (const canvas of [this.base, this.top]) {
      Object.assign(canvas, { width: wide, height: high });
      canvas.style.width = `${wide / ratio}px`;
      canvas.style.height = `${high / ratio}px`;
    }
    this.draw();
  }

  draw() {
    if (!this.picture) return;
    const context = this.base.getContext("2d"), { view, ratio, size } = this.camera, scale = view.scale * ratio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.base.width, this.base.height);
    this.picture.draw(context, view, size, ratio);
    context.setTransform(scale, 0, 0, scale, -view.x * scale, -view.y * scale);
    context.imageSmoothingEnabled = false;
    const { found } = this;
    if (found && this.result) {
      context.globalAlpha = this.opacity;
      // a cell of the result stands for the pixel at its upper left corner
      context.drawImage(found.colours, 0, 0, found.width * found.step, found.height * found.step);
    }
    context.globalAlpha = 1;
    if (found && this.doubt) context.drawImage(found.doubt, 0, 0, found.width * found.step, found.height * found.step);
    context.globalAlpha = 0.9;
    context.drawImage(this.painted, 0, 0);
    context.globalAlpha = 1;
    this.drawTop();
  }

  drawTop() {
    const context = this.top.getContext("2d"), { view, ratio } = this.camera, scale = view.scale * ratio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.top.width, this.top.height);
    if (!this.picture) return;
    context.setTransform(scale, 0, 0, scale, -view.x * scale, -view.y * scale);
    const tool = this.stroke?.tool ?? this.tool;
    const [r, g, b] = tool === "eraser" ? [255, 255, 255] : phaseColour(this.phase), colour = `rgb(${r},${g},${b})`;
    const path = this.stroke?.path ?? (this.corners.length ? [...this.corners, ...(this.cursor ? [this.cursor] : [])] : null);
    context.strokeStyle = colour;
    context.lineCap = context.lineJoin = "round";
    if (path) {
      context.beginPath();
      path.forEach(([x, y]) => context.lineTo(x + 0.5, y + 0.5));
      context.lineWidth = tool === "polygon" ? 2 / scale : 2 * this.radius;
      context.globalAlpha = tool === "eraser" ? 0.5 : 0.8;
      context.stroke();
      context.globalAlpha = 1;
    }
    if (this.cursor && tool !== "polygon" && !this.space) {
      context.beginPath();
      context.arc(this.cursor[0] + 0.5, this.cursor[1] + 0.5, this.radius, 0, 2 * Math.PI);
      context.lineWidth = 1.5 / scale;
      context.stroke();
    }
  }

  say(text) { this.hint.textContent = text; }
  warn(text) { this.banner.textContent = text; this.banner.hidden = false; }

  fail(text) {
    this.errorText.textContent = text;
    this.error.hidden = false;
    this.root.dataset.errors = Number(this.root.dataset.errors || 0) + 1;
  }

  destroy() {
    this.link.close();
    this.observer.disconnect();
  }
}

function render({ model, el }) {
  const view = new PhaseView(model, el);
  view.take("brush");
  return () => view.destroy();
}

export default { render };
