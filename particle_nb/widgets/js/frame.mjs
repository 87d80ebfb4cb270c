// The widget in its cell: layout, size, the cursor, what the cell around it must know.

import { element } from "./elements.mjs";

const PAUSE = 150; // milliseconds without another width before the kernel hears of it

export class Frame {
  constructor(el, parts) {
    const { root, top, base, store, hand, camera, painter, link, notices, help, toolbar, menu } = parts;
    Object.assign(this, { el, root, top, store, hand, camera, painter, link, notices });
    this.stage = element("div", { class: "pnb-stage" }, base, top, notices.hud, notices.legend, notices.error, parts.ruler.node, parts.regions.node, help.node);
    root.append(
      notices.banner,
      element("p", { class: "pnb-wait" }, "The image is on its way …"),
      toolbar.node,
      element("div", { class: "pnb-main" },
        element("div", { class: "pnb-left" }, this.stage, notices.statusBar),
        panelOf(parts)),
      menu.node,
      notices.live);
    el.append(root);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
    this.watchRatio();
  }

  close() {
    this.observer.disconnect();
    clearTimeout(this.telling);
    this.screen?.removeEventListener("change", this.onScreen);
    this.output?.classList.remove("pnb-output", "pnb-gone");
  }

  /** Another screen, or the browser's zoom: the cell may keep its size, its pixels do not. */
  watchRatio() {
    this.screen?.removeEventListener("change", this.onScreen);
    this.onScreen = () => { this.resize(); this.watchRatio(); };
    this.screen = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    this.screen.addEventListener("change", this.onScreen);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    // whole device pixels, reaching beyond the stage by a part of one: otherwise the browser
    // stretches the canvas, and what is drawn no longer lies where `clientToImage` says
    const wide = Math.ceil(width * ratio - 1e-6), high = Math.ceil(height * ratio - 1e-6);
    this.camera.resize(wide / ratio, high / ratio, ratio);
    this.tellWidth();
    this.painter.resize(wide, high);
    if (this.store.picture) this.notices.showPlace();
  }

  /** Image and particles are there: show them. */
  ready() {
    const { root } = this;
    if (!this.store.picture || !this.store.summary || root.dataset.state === "ready") return;
    root.dataset.state = "ready";
    root.removeAttribute("aria-busy");
    this.hideStill();
    this.resize(); // the stage has a size only now
  }

  /** Below the live widget the kernel puts a picture for where no kernel runs; here it is hidden. */
  hideStill() {
    this.output = this.el.closest(".jp-OutputArea-child");
    this.output?.classList.add("pnb-output");
  }

  /** The kernel is gone: the strip of thumbnails stays to be seen, and takes no clicks. */
  lost() {
    this.root.dataset.kernel = "gone";
    this.output?.classList.add("pnb-gone");
  }

  /** The strip of thumbnails below is drawn by the kernel, which does not know the cell's width. */
  tellWidth() {
    const width = Math.round(this.root.clientWidth);
    if (!width || width === this.told || this.root.dataset.state !== "ready" || this.link.lost) return;
    clearTimeout(this.telling);
    if (!this.output) this.hideStill();
    this.telling = setTimeout(() => {
      this.told = width;
      this.link.request("width", { width, hides_still: !!this.output });
    }, PAUSE);
  }

  showCursor() {
    const { tool, space } = this.hand, round = tool === "brush" || tool === "eraser";
    this.top.style.cursor = space ? "grab" : tool === "select" || tool === "lasso" ? "default" : round ? "none" : "crosshair";
  }

  showSelected() {
    this.root.dataset.selected = this.store.chosen.join(" ");
  }
}

function panelOf({ sizes, list, texts, classes, filters, appearance, learning }) {
  const section = (title, open, ...children) =>
    element("details", { class: "pnb-section", open }, element("summary", {}, title), ...children);
  return element("div", { class: "pnb-panel" },
    section("Size", true, ...sizes.nodes),
    section("Particles", true, ...list.nodes, texts.node),
    section("Classes", false, ...classes.nodes),
    section("Filter", false, filters.node),
    section("Learn", false, ...learning.nodes),
    section("View", false, ...appearance.nodes));
}
