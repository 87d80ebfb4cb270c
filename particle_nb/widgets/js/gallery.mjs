// The gallery of particle_nb: thumbnails with states, and the sizes of all images pooled.

import { element, svg } from "./elements.mjs";
import { Link } from "./link.mjs";

const LOADING = 2500; // milliseconds, more than anywidget waits for a module
const WORDS = { new: "new", proposed: "proposed", corrected: "corrected", doubtful: "doubtful", failed: "cannot be read" };
const MARKS = { new: "○", proposed: "◐", corrected: "●", doubtful: "⚑", failed: "✕" };

/** A number with three digits, as people write it. */
export function short(value) {
  return value >= 100 ? String(Math.round(value)) : Number(value.toPrecision(3)).toString();
}

export function unitText(unit) {
  return unit === "um" ? "µm" : unit;
}

/** What a card says of its image, in one line. */
export function summaryOf(page) {
  if (page.state === "failed") return page.message;
  if (page.state === "new") return "not opened";
  const median = page.d50 == null ? "" : `, D50 ${short(page.d50)} ${unitText(page.unit)}`;
  return `${page.count} particle${page.count === 1 ? "" : "s"}${median}`;
}

/** Where the keyboard goes from card `at`: arrows, Home and End, in rows of `wide`. */
export function stepOf(key, at, wide, count) {
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide };
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (!(key in moves)) return null;
  const to = at + moves[key];
  return to >= 0 && to < count ? to : at;
}

/** Bars of the pooled distribution as x, y, width, height in a box of 300 by 90. */
export function barsOf(edges, shares) {
  const low = Math.log(edges[0]), wide = Math.log(edges[edges.length - 1]) - low || 1;
  const most = Math.max(...shares) || 1;
  return shares.map((share, k) => {
    const x0 = (Math.log(edges[k]) - low) / wide, x1 = (Math.log(edges[k + 1]) - low) / wide;
    return [300 * x0, 90 - 86 * share / most, Math.max(300 * (x1 - x0) - 1, 0.5), 86 * share / most];
  });
}

/** Wait until a page has built a widget and the views of it that were begun. */
async function builtBy(manager, id) {
  try {
    const model = await manager.get_model(id);
    await Promise.all([model.state_change, ...Object.values(model.views ?? {})]);
  } catch {
    // it is gone
  }
}

class Gallery {
  constructor(model, el) {
    this.manager = model.widget_manager;
    this.pages = [];
    this.at = 0;
    this.shown = "all";
    this.cards = new Map();
    this.urls = [];
    this.root = element("div", {
      class: "pnb-gallery", "data-testid": "gallery", "data-state": "loading", "data-seq": "0",
      "data-lm-suppress-shortcuts": "true", role: "region", "aria-label": "gallery of images",
    });
    this.filter = element("select", { class: "pnb-gallery-filter", "aria-label": "which images are shown",
      onchange: () => { this.shown = this.filter.value; this.fill(); } });
    this.told = element("span", { class: "pnb-gallery-states" });
    this.previous = element("button", { type: "button", class: "pnb-gallery-button", title: "previous image (Alt+Up)",
      onclick: () => this.step(-1) }, "◀ previous");
    this.following = element("button", { type: "button", class: "pnb-gallery-button", title: "next image (Alt+Down)",
      onclick: () => this.step(1) }, "next ▶");
    this.doubtful = element("button", { type: "button", class: "pnb-gallery-button",
      title: "the most doubtful of the images that nobody worked on (Alt+Shift+Down)", onclick: () => this.doubt() }, "⚑ most doubtful");
    this.grid = element("div", { class: "pnb-gallery-grid", role: "listbox", "aria-label": "images" });
    this.pooled = element("div", { class: "pnb-gallery-pooled", "aria-live": "polite" });
    this.alarm = element("div", { class: "pnb-gallery-alarm", role: "alert", hidden: true });
    const head = element("div", { class: "pnb-gallery-head" }, this.told, this.filter, this.previous, this.following, this.doubtful);
    this.root.append(head, this.alarm, element("div", { class: "pnb-gallery-main" }, this.grid, this.pooled));
    el.append(this.root);
    this.link = new Link(model, {
      receive: (message, buffers) => this.receive(message, buffers),
      lost: () => this.warn("The kernel is gone. What was committed is saved; run the cell again."),
      slow: (kind) => { if (kind !== "thumbnail") this.warn("The kernel is at work …"); },
      sent: () => null,
    });
    this.seen = new IntersectionObserver((entries) => this.visible(entries), { root: this.grid, rootMargin: "200px" });
    this.keys = (event) => this.hotkey(event);
    document.addEventListener("keydown", this.keys, true);
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.link.request("ready");
  }

  close() {
    document.removeEventListener("keydown", this.keys, true);
    this.seen.disconnect();
    this.link.close();
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.root.remove();
  }

  receive(message, buffers) {
    if (message.kind === "error") { this.busy(false); this.warn(message.message); return; }
    if (message.kind === "thumbnail") { this.picture(message.index, buffers[0]); return; }
    if (message.kind === "left") { this.leave(message.ids); return; }
    if (message.kind === "closed") return;
    if (message.kind === "pages") {
      this.pages = message.pages;
      this.root.dataset.state = "ready";
      this.fill();
    } else if (message.kind === "page") {
      this.pages[message.page.index] = message.page;
      this.refresh(message.page);
    } else if (message.kind === "opened") {
      this.busy(false);
      this.warn(message.moved ? "" : "There is no further image.");
    }
    if ("open" in message) this.mark(message.open);
    if ("states" in message) this.counts(message);
    this.root.dataset.seq = String(Number(this.root.dataset.seq) + 1);
  }

  /** All cards anew, of the images that the filter lets through. */
  fill() {
    this.seen.disconnect();
    this.cards.clear();
    const pages = this.pages.filter(({ state }) => this.shown === "all" || state === this.shown);
    this.grid.replaceChildren(...pages.map((page) => this.card(page)));
    this.at = Math.min(this.at, Math.max(pages.length - 1, 0));
    if (!pages.length) this.grid.append(element("p", {}, "No image is in this state."));
    this.roam();
    this.mark(this.open);
  }

  card(page) {
    const picture = element("img", { class: "pnb-gallery-picture", alt: "" });
    const text = element("span", { class: "pnb-gallery-text" });
    const state = element("span", { class: "pnb-gallery-state" });
    const node = element("div", {
      class: "pnb-gallery-card", role: "option", tabindex: "-1", "aria-selected": "false",
      onclick: () => this.go(page.index), "data-index": String(page.index),
    }, picture, element("span", { class: "pnb-gallery-name" }, page.name), text, state);
    this.cards.set(page.index, { node, picture, text, state });
    if (this.urls[page.index]) picture.src = this.urls[page.index];
    else this.seen.observe(node);
    this.refresh(page);
    return node;
  }

  refresh(page) {
    const card = this.cards.get(page.index);
    if (!card) return;
    card.node.dataset.state = page.state;
    card.text.textContent = summaryOf(page);
    card.state.textContent = `${MARKS[page.state]} ${WORDS[page.state]}`;
    card.node.title = page.message || page.name;
    card.node.setAttribute("aria-label", `${page.name}, ${WORDS[page.state]}, ${summaryOf(page)}`);
  }

  visible(entries) {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      this.seen.unobserve(entry.target);
      this.link.request("thumbnail", { index: Number(entry.target.dataset.index) });
    }
  }

  picture(index, data) {
    const url = URL.createObjectURL(new Blob([data], { type: "image/png" }));
    this.urls[index] = url;
    const card = this.cards.get(index);
    if (card) card.picture.src = url;
  }

  counts({ states, pooled }) {
    this.told.textContent = Object.entries(states).map(([state, count]) => `${count} ${WORDS[state]}`).join(", ");
    const options = ["all", ...Object.keys(states)];
    this.filter.replaceChildren(...options.map((name) => element("option", { value: name, selected: name === this.shown },
      name === "all" ? `all ${this.pages.length}` : `${WORDS[name]} (${states[name]})`)));
    if (!pooled) { this.pooled.replaceChildren(element("p", {}, "No particle yet: open an image.")); return; }
    const unit = unitText(pooled.unit);
    const [low, middle, high] = pooled.percentiles.map(short);
    const plot = svg("svg", { viewBox: "0 0 300 92", class: "pnb-gallery-plot", role: "img",
      "aria-label": `volume-weighted sizes, ${short(pooled.edges[0])} to ${short(pooled.edges.at(-1))} ${unit}` });
    for (const [x, y, width, height] of barsOf(pooled.edges, pooled.shares)) plot.append(svg("rect", { x, y, width, height }));
    const ends = element("div", { class: "pnb-gallery-ends" },
      element("span", {}, `${short(pooled.edges[0])}`), element("span", {}, `${short(pooled.edges.at(-1))} ${unit}`));
    const left = pooled.left ? ` ${pooled.left} without a scale left out.` : "";
    this.pooled.replaceChildren(
      element("b", {}, `D50 ${middle} ${unit}`),
      element("span", {}, `D10 ${low}, D90 ${high} ${unit}, by volume`), plot, ends,
      element("span", {}, `${pooled.n} whole particles of ${pooled.images} image${pooled.images === 1 ? "" : "s"}.${left}`));
  }

  mark(index) {
    this.open = index;
    for (const [k, { node }] of this.cards) node.setAttribute("aria-selected", String(k === index));
    this.root.dataset.open = index == null ? "" : String(index);
    const card = this.cards.get(index);
    if (card) {
      this.at = [...this.cards.keys()].indexOf(index);
      this.roam();
      card.node.scrollIntoView({ block: "nearest" });
    }
  }

  /** One card is in the order of the tabulator. */
  roam() {
    [...this.cards.values()].forEach(({ node }, k) => node.setAttribute("tabindex", k === this.at ? "0" : "-1"));
  }

  key(event) {
    const nodes = [...this.cards.values()].map(({ node }) => node);
    if (!nodes.length || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") this.go(Number(nodes[this.at].dataset.index));
    else {
      const tops = nodes.filter((node) => node.offsetTop === nodes[0].offsetTop).length;
      const to = stepOf(event.key, this.at, tops, nodes.length);
      if (to == null) return;
      this.at = to;
      this.roam();
      nodes[to].focus();
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** Alt+Down, Alt+Up and Alt+Shift+Down, also from within the annotator below. */
  hotkey(event) {
    const there = event.shiftKey ? ["ArrowDown"] : ["ArrowDown", "ArrowUp"];
    if (!event.altKey || event.ctrlKey || event.metaKey || !there.includes(event.key)) return;
    const cell = this.root.closest(".jp-Cell, .cell") || this.root.parentElement;
    if (!this.root.isConnected || !cell.contains(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.shiftKey) this.doubt();
    else this.step(event.key === "ArrowDown" ? 1 : -1);
  }

  go(index) {
    if (this.waiting) return;
    this.busy(true);
    this.link.request("open", { index });
  }

  doubt() {
    if (this.waiting) return;
    this.busy(true);
    this.link.request("doubtful");
  }

  step(by) {
    if (this.waiting) return;
    this.busy(true);
    this.link.request("step", { by });
  }

  busy(on) {
    this.waiting = on;
    this.root.setAttribute("aria-busy", String(on));
    for (const button of [this.previous, this.following, this.doubtful]) button.disabled = on;
  }

  /** Tell the kernel which widgets it may close: those that this page builds no more. */
  async leave(ids) {
    await Promise.all(ids.map((id) => builtBy(this.manager, id)));
    // views within a view are begun later, and a module may still be on its way
    await new Promise((go) => setTimeout(go, LOADING));
    if (!this.link.lost) this.link.request("left", { ids });
  }

  warn(text) {
    this.alarm.textContent = text;
    this.alarm.hidden = !text;
  }
}

export default {
  render({ model, el }) {
    const gallery = new Gallery(model, el);
    return () => gallery.close();
  },
};
