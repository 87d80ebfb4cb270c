// The panel's numbers and its histogram of sizes, whose bars select.

import { element, svg } from "./elements.mjs";
import { binOf, formatLength } from "./format.mjs";

const WIDTH = 280;
const HEIGHT = 120;
const LEFT = 6;
const BASE = 100; // where the bars stand
const ROOM = 12; // above the highest bar

/** The numbers of the particles in each bin between ascending edges; `column` is that of the size. */
export function binned(particles, column, edges) {
  const bins = edges.slice(1).map(() => []);
  for (const p of particles) {
    const bin = p.kept && p.row ? binOf(p.row[column], edges) : -1;
    if (bin >= 0) bins[bin].push(p.id);
  }
  return bins;
}

/** The bin that holds something nearest to `at`, or -1. */
export function nearestFull(bins, at) {
  const full = bins.map((ids, i) => (ids.length ? i : -1)).filter((i) => i >= 0);
  return full.reduce((best, i) => (Math.abs(i - at) < Math.abs(best - at) ? i : best), full[0] ?? -1);
}

/** Where the focus goes from bin `i` by a key: another that holds something, or undefined. */
export function stepBin(bins, i, key) {
  const full = bins.map((ids, k) => (ids.length ? k : -1)).filter((k) => k >= 0), at = full.indexOf(i);
  return { ArrowLeft: full[at - 1], ArrowRight: full[at + 1], Home: full[0], End: full[full.length - 1] }[key];
}

export class Sizes {
  constructor({ root, store, commands, changed, leave }) {
    Object.assign(this, { root, store, commands, leave });
    this.weight = 3; // 3: by volume, 0: by number
    this.at = 0; // the bar that is a stop of the Tab key
    this.numbers = element("div", { class: "pnb-numbers" });
    this.weightBox = element("select", {
      class: "pnb-select", "aria-label": "Weighting of the size distribution",
      onchange: () => { this.weight = Number(this.weightBox.value); changed(); },
    }, element("option", { value: "3" }, "by volume (Q₃)"), element("option", { value: "0" }, "by number (Q₀)"));
    this.plot = svg("svg", {
      class: "pnb-plot", role: "group", viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      "aria-label": "Histogram of particle sizes; pick a bar to select its particles",
    });
    this.nodes = [this.numbers, this.weightBox, this.plot];
  }

  show() {
    const { summary } = this.store, shown = summary.sizes[this.weight], percentiles = shown?.percentiles;
    const number = (name, value, title, range = "") => element("div", { title },
      element("span", {}, name), element("b", {}, value), range ? element("small", { class: "pnb-range" }, range) : null);
    const size = (v) => (v == null ? "–" : formatLength(v, summary.unit));
    this.numbers.replaceChildren(
      number("particles", summary.count, "committed particles that pass the filter"),
      number("hidden", summary.hidden, "particles that the filter hides"),
      number("coverage", `${(100 * summary.coverage).toFixed(1)} %`, "share of the image covered by particles"),
      ...[["D10", "10th percentile"], ["D50", "median"], ["D90", "90th percentile"]].map(([name, words], i) => {
        const limits = shown?.intervals?.[i], doubt = shown?.doubts?.[i] ?? "";
        const star = doubt ? " *" : "", why = doubt ? `. * ${doubt}` : "";
        const range = limits ? `${size(limits[0])} to ${size(limits[1])}${star}` : "";
        const about = limits ? `. 95 % interval; in it: ${summary.holds}; not in it: ${summary.lacks}` : "";
        return number(name, size(percentiles?.[i]), `${words} of x_A${about}${why}`, range);
      }));
    this.root.dataset.d50 = percentiles?.[1] ?? "";
    this.showPlot();
  }

  showPlot() {
    const { summary, columns, particles } = this.store, heights = summary.sizes[this.weight]?.heights;
    if (!heights?.length) {
      if (this.plot.contains(document.activeElement)) this.leave();
      const text = svg("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "pnb-axis" }, "no particle yet");
      return this.plot.replaceChildren(text);
    }
    this.bins = binned(particles.values(), columns.indexOf(summary.size_column), summary.edges);
    // the bars are made anew with each selection: the one that had the focus keeps it, and only one
    // is a stop of the Tab key
    const focused = this.plot.contains(document.activeElement);
    this.at = nearestFull(this.bins, focused ? Number(document.activeElement.dataset.bin) : this.at);
    const bars = heights.map((_, i) => this.#bar(i, heights));
    this.plot.replaceChildren(...bars, ...this.#curve(heights), ...this.#axis(heights.length));
    const bar = focused && this.plot.querySelector(`[data-bin="${this.at}"]`);
    if (bar) bar.focus({ preventScroll: true });
    else if (focused) this.leave();
  }

  #bar(i, heights) {
    const { summary, selection } = this.store, ids = this.bins[i];
    const wide = (WIDTH - 2 * LEFT) / heights.length, left = LEFT + i * wide;
    const high = (heights[i] / Math.max(...heights, 1e-12)) * (BASE - ROOM);
    const chosen = ids.filter((id) => selection.has(id)).length, part = (high * chosen) / (ids.length || 1);
    const [from, to] = [i, i + 1].map((k) => formatLength(summary.edges[k], summary.unit));
    const label = `${from} to ${to}: ${ids.length} particles, ${(100 * heights[i]).toFixed(1)} %`;
    const rect = (name, x, y, width, height) => svg("rect", { x, y, width, height, class: name });
    const inner = Math.max(wide - 1.5, 0.5);
    const bar = svg("g", {
      class: "pnb-bin", "data-bin": i, role: "button", tabindex: i === this.at ? 0 : -1,
      "aria-label": label, "aria-pressed": String(chosen > 0),
    },
    svg("title", {}, label),
    rect("pnb-back", left, 6, wide, BASE - 6),
    rect("pnb-rect", left + 0.75, BASE - high, inner, high),
    rect("pnb-chosen", left + 0.75, BASE - part, inner, part));
    const pick = (e) => this.commands.select([...new Set([...(e.shiftKey || e.ctrlKey ? selection : []), ...ids])]);
    bar.addEventListener("click", pick);
    bar.addEventListener("focus", () => { this.at = i; });
    bar.addEventListener("keydown", (e) => {
      const next = stepBin(this.bins, i, e.key);
      if (e.key === "Enter" || e.key === " ") pick(e);
      else if (next != null) this.plot.querySelector(`[data-bin="${next}"]`).focus();
      else return;
      e.preventDefault();
    });
    return bar;
  }

  /** The cumulative curve and the line that the bars stand on. */
  #curve(heights) {
    const wide = (WIDTH - 2 * LEFT) / heights.length;
    let path = `M${LEFT} ${BASE}`, sum = 0;
    heights.forEach((height, i) => {
      sum += height;
      path += `L${LEFT + (i + 1) * wide} ${BASE - sum * (BASE - ROOM)}`;
    });
    const line = svg("path", { d: `M${LEFT} ${BASE + 0.5}H${WIDTH - LEFT}`, class: "pnb-line" });
    return [svg("path", { d: path, class: "pnb-curve" }), line];
  }

  #axis(count) {
    const { edges, unit } = this.store.summary, digits = edges[count] < 1.6 * edges[0] ? 3 : 2;
    return [[0, "start"], [Math.round(count / 2), "middle"], [count, "end"]].map(([i, anchor]) => {
      const x = LEFT + (i * (WIDTH - 2 * LEFT)) / count;
      return svg("text", { x, y: HEIGHT - 6, "text-anchor": anchor, class: "pnb-axis" }, formatLength(edges[i], unit, digits));
    });
  }
}
