// What is said to the person: banner, errors, hints, the place under the cursor, draft and legend.

import { element } from "./elements.mjs";
import { formatScore, placeText } from "./format.mjs";
import { KEYS } from "./keys.mjs";
import { uncertain } from "./masks.mjs";

const GONE =
  "The kernel is gone. The picture stays as it was; run the cell again to go on: committed masks were saved.";
const NEVER = "No kernel has answered yet. If none is running, run the cell again; what was committed is saved.";
const BUSY = "The kernel has not answered for some seconds: it is busy, or gone. Nothing is lost.";

/** Banner, error, hint and the live region of screen readers. */
export class Notices {
  constructor({ root, top, store, hand, camera, palette, style }) {
    Object.assign(this, { root, store, hand, camera, palette, style });
    this.greyOf = () => "…";
    this.live = element("div", { class: "pnb-live", role: "status", "aria-live": "polite" });
    this.banner = element("div", { class: "pnb-banner", role: "alert", hidden: true });
    const dismiss = () => { this.forgive(); top.focus({ preventScroll: true }); };
    this.errorText = element("span");
    this.error = element("div", { class: "pnb-error", role: "alert", hidden: true }, this.errorText,
      element("button", { type: "button", "aria-label": "Dismiss", onclick: dismiss }, "×"));
    this.place = element("span", { class: "pnb-place" }, "–");
    this.hint = element("span", { class: "pnb-hint" });
    this.zoomText = element("span", { class: "pnb-zoom" });
    this.statusBar = element("div", { class: "pnb-status" }, this.place, this.hint, this.zoomText);
    this.hud = element("div", { class: "pnb-hud" });
    this.legend = element("div", { class: "pnb-legend", hidden: true });
  }

  /** Across the cell, until it no longer holds. */
  warn(text) {
    this.banner.textContent = text;
    this.banner.hidden = false;
  }

  kernelGone() {
    this.warn(GONE);
  }

  slow(kind) {
    this.warn(kind === "ready" ? NEVER : BUSY);
  }

  answered() {
    this.banner.hidden = true;
  }

  /** Over the picture, until it is dismissed or the next thing is done. */
  fail(text) {
    this.errorText.textContent = text;
    this.error.hidden = false;
    this.root.dataset.errors = Number(this.root.dataset.errors || 0) + 1;
  }

  forgive() {
    this.error.hidden = true;
  }

  /** Below the picture, and aloud. */
  say(text) {
    this.whisper(text);
    this.hint.textContent = text;
  }

  /** To screen readers only. */
  whisper(text) {
    this.live.textContent = text;
  }

  /** The cursor's place, the zoom and the draft. */
  showPlace() {
    const { picture, info } = this.store, { scale } = this.camera.view;
    this.place.textContent = picture ? placeText(this.hand.cursor, picture, info, this.greyOf) : "–";
    this.zoomText.textContent = picture ? `${(100 * scale).toFixed(scale < 1 ? 1 : 0)} %` : "";
    this.showDraft();
  }

  showDraft() {
    const { draft, candidate } = this.store;
    this.hud.hidden = !draft;
    this.hand.offer(draft ? draft.target : this.hand.target);
    if (!draft) return;
    const part = (text, title) => element("span", { title }, text);
    this.hud.replaceChildren(
      element("b", {}, draft.refines ? `refining ${draft.refines}` : "draft"),
      part(candidate ? `candidate ${draft.choice + 1} of ${draft.candidates.length}` : "add a point inside"),
      part(`IoU ${formatScore(candidate?.iou)}`, "predicted intersection over union"),
      part(`stability ${formatScore(candidate?.stability)}`, "stability under threshold shifts"),
      ...(draft.window ? [part("zoomed encoding", "the visible part was encoded at full resolution")] : []));
  }

  /** What the colours mean, where they mean something. */
  showLegend() {
    const { certain, hideAll } = this.style, legend = hideAll ? null : this.palette.legend();
    const unsure = !hideAll && this.store.kept().some((p) => uncertain(p, certain));
    this.legend.hidden = !legend && !unsure;
    this.legend.replaceChildren(...this.#colours(legend));
    if (!unsure) return;
    const dash = element("i", { class: "pnb-dash" });
    this.legend.append(element("span", {}, dash, ` confidence below ${certain.toFixed(2)}`));
  }

  #colours(legend) {
    if (!legend) return [];
    if (legend.classes) return legend.classes.map(([name, colour]) => element("span", {}, swatch(colour), ` ${name}`));
    const ramp = element("i", { class: "pnb-ramp" });
    ramp.style.background = `linear-gradient(to right, ${legend.ramp.join(",")})`;
    const [low, high] = [legend.low, legend.high].map((text) => element("span", {}, text));
    return [element("b", {}, legend.name), low, ramp, high];
  }
}

export function swatch(colour) {
  const node = element("i", { class: "pnb-swatch" });
  node.style.background = colour;
  return node;
}

/** The list of keys over the picture. */
export class Help {
  constructor(top) {
    this.top = top;
    this.turned = () => {};
    this.node = element("div", { class: "pnb-help", role: "dialog", "aria-label": "Keys", tabindex: "0", hidden: true },
      element("h4", {}, "Keys"),
      element("dl", {}, ...KEYS.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)])));
  }

  get shown() {
    return !this.node.hidden;
  }

  toggle(show = !this.shown) {
    if (!show && this.node.contains(document.activeElement)) this.top.focus({ preventScroll: true });
    this.node.hidden = !show;
    if (show) this.node.focus({ preventScroll: true });
    this.turned(show);
  }
}
