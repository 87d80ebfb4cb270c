// The list of particles, of which only the rows that can be seen are in the document, and the texts
// of the selected.

import { element, icon } from "./elements.mjs";
import { formatLength } from "./format.mjs";
import { FIELDS, ordered, readQuery, valueOf } from "./listing.mjs";
import { swatch } from "./notices.mjs";

const TALL = 24; // of a row in CSS pixels

/** The numbers from one to another in the order of the list, whichever comes first. */
export function between(order, one, other) {
  const [a, b] = [order.indexOf(one), order.indexOf(other)].sort((x, y) => x - y);
  return order.slice(Math.max(a, 0), b + 1);
}

/** The place that a key leads to from place `here` (-1: none) among `count`. */
export function stepRow(here, count, key) {
  return { ArrowUp: Math.max(here - 1, 0), ArrowDown: Math.min(here + 1, count - 1), Home: 0, End: count - 1 }[key];
}

export class ParticleList {
  constructor({ store, commands, camera, palette, prefix }) {
    Object.assign(this, { store, commands, camera, palette, prefix });
    this.anchor = null; // where a selection with Shift begins
    this.order = []; // the numbers of the particles that are listed
    this.search = element("input", {
      type: "search", class: "pnb-input", placeholder: "filter list: text, or x_A > 200",
      title: "Words of number, name, class or note; comparisons such as x_A > 200 or class = round",
      "aria-label": "Filter the list of particles", oninput: () => this.show(),
    });
    this.by = element("select", {
      class: "pnb-select", title: "The column that the list is sorted by, and shows",
      "aria-label": "Sort the list by", onchange: () => this.show(),
    });
    this.down = element("button", {
      type: "button", class: "pnb-button pnb-small", "aria-label": "Descending", "aria-pressed": "false",
      title: "Greatest first", onclick: () => this.#turn(),
    }, icon("down"));
    const sort = element("div", { class: "pnb-edit-row" }, element("span", { class: "pnb-by" }, "sort"), this.by, this.down);
    this.rows = element("div", {
      class: "pnb-rows", role: "listbox", "aria-multiselectable": "true", "aria-label": "Particles", tabindex: "0",
      onscroll: () => this.show(), onkeydown: (e) => this.#key(e), onclick: (e) => this.#click(e),
      oncontextmenu: (e) => this.#menu(e),
    });
    this.nodes = [this.search, sort, this.rows];
  }

  #turn() {
    this.down.setAttribute("aria-pressed", String(this.down.getAttribute("aria-pressed") === "false"));
    this.show();
  }

  /** The columns that the kernel has. */
  showColumns() {
    const { value } = this.by, more = this.store.columns.filter((c) => !FIELDS.some(([key]) => key === c));
    const options = [...FIELDS, ...more.map((c) => [c, c])];
    this.by.replaceChildren(...options.map(([key, text]) => element("option", { value: key }, text)));
    this.by.value = value;
    if (!this.by.value) this.by.value = "id";
  }

  /** The particles that are listed, in their order; what was asked for and is no column. */
  #listed() {
    const { columns } = this.store, { test, unknown } = readQuery(this.search.value, columns);
    const found = unknown ? [] : this.store.kept().filter(test);
    const down = this.down.getAttribute("aria-pressed") === "true";
    return { all: ordered(found, this.by.value, down, columns), unknown };
  }

  selectAll() {
    this.commands.select(this.#listed().all.map((p) => p.id));
  }

  show() {
    const { all, unknown } = this.#listed(), { scrollTop, clientHeight } = this.rows;
    this.order = all.map((p) => p.id);
    const first = Math.max(0, Math.floor(scrollTop / TALL) - 2);
    const last = Math.min(all.length, first + Math.ceil((clientHeight || 190) / TALL) + 4);
    const box = element("div", { class: "pnb-rows-box", style: `height:${all.length * TALL}px`, role: "presentation" });
    const colours = this.palette.colours();
    for (let i = first; i < last; i++) box.append(this.#row(all[i], i, all.length, colours(all[i])));
    if (!all.length) box.append(element("p", { class: "pnb-empty" }, this.#whyNone(unknown)));
    this.rows.replaceChildren(box);
    // what was selected last is named to screen readers, if its row is in the document
    const active = `${this.prefix}-row-${this.store.chosen.pop()}`;
    if (box.children.namedItem(active)) this.rows.setAttribute("aria-activedescendant", active);
    else this.rows.removeAttribute("aria-activedescendant");
  }

  #whyNone(unknown) {
    if (unknown) return `There is no column “${unknown}”; the list above has all.`;
    return this.store.particles.size ? "nothing matches" : "Click a particle in the image, then press C.";
  }

  /** The column that is shown, [name, text]: that of the order, if it is a number, else the size. */
  #value(p) {
    const { columns, summary } = this.store, { value: by } = this.by;
    const name = by === "stability" || columns.includes(by) ? by : summary?.size_column;
    const value = valueOf(p, name, columns);
    if (!Number.isFinite(value)) return [name, ""];
    return [name, name === summary.size_column ? formatLength(value, summary.unit) : String(Number(value.toPrecision(4)))];
  }

  #row(p, place, count, colour) {
    const [column, size] = this.#value(p);
    const chosen = this.store.selection.has(p.id);
    // what is only thought stands in italics, with a question mark
    const second = p.name && p.label ? ` ${p.label}` : p.guess ? ` ${p.guess}?` : "";
    const label = second ? element("em", {}, second) : null;
    return element("div", {
      class: `pnb-row${chosen ? " pnb-on" : ""}${p.visible ? "" : " pnb-dim"}`, id: `${this.prefix}-row-${p.id}`,
      role: "option", "aria-selected": String(chosen), "aria-setsize": count, "aria-posinset": place + 1,
      "data-id": p.id, style: `top:${place * TALL}px`, title: p.note || null,
    },
    swatch(colour),
    element("span", { class: "pnb-id" }, String(p.id)),
    element("span", { class: "pnb-name" }, p.name || p.label || "", label),
    p.locked ? icon("lock") : null, p.review ? icon("commit") : null,
    element("span", { class: "pnb-size", title: column }, size),
    scoreCell(p));
  }

  /** Scroll to what was selected last. */
  showSelection() {
    const last = this.store.chosen.pop();
    if (last != null) {
      const at = this.#listed().all.findIndex((p) => p.id === last), { scrollTop, clientHeight } = this.rows;
      if (at >= 0 && (at * TALL < scrollTop || (at + 1) * TALL > scrollTop + clientHeight))
        this.rows.scrollTop = at * TALL - clientHeight / 2;
    }
    if (this.store.summary) this.show();
  }

  #click(event) {
    const id = rowOf(event);
    if (id == null) return;
    const { shiftKey, ctrlKey, metaKey } = event;
    const ids = new Set(shiftKey || ctrlKey || metaKey ? this.store.selection : []);
    if (shiftKey && this.anchor != null) between(this.order, this.anchor, id).forEach((n) => ids.add(n));
    else if (!ids.delete(id)) ids.add(id);
    this.#choose(id, [...ids]);
  }

  #key(event) {
    const here = this.order.indexOf(this.anchor ?? this.store.chosen.pop());
    const next = stepRow(here, this.order.length, event.key);
    if (next === undefined) return;
    event.preventDefault();
    const id = this.order[next];
    if (id != null) this.#choose(id, event.shiftKey ? [...this.store.selection, id] : [id]);
  }

  /** The right button on a row: the menu of the selected, which that row then belongs to. */
  #menu(event) {
    const id = rowOf(event);
    if (id == null) return;
    event.preventDefault();
    if (!this.store.selection.has(id)) this.#choose(id, [id]);
    const { left, top } = this.rows.closest(".pnb").getBoundingClientRect(), [x, y] = this.store.particles.get(id).centre;
    this.commands.context.show({ x, y }, event.clientX - left, event.clientY - top);
  }

  #choose(id, ids) {
    this.anchor = id;
    this.commands.select(ids);
    const particle = this.store.particles.get(id);
    if (particle) this.camera.reveal(...particle.centre);
  }
}

/** Confidence where the model gives one, else predicted IoU. */
function scoreCell({ confidence, iou }) {
  const [score, title] = confidence != null ? [confidence, "confidence"] : [iou, "predicted IoU"];
  return element("span", { class: "pnb-iou", title }, score == null ? "" : score.toFixed(2));
}

/** The number of the particle whose row an event is in, or null. */
function rowOf(event) {
  const row = event.target.closest(".pnb-row");
  return row && Number(row.dataset.id);
}

/** Name, class and note of the selected, and whether they are shown and locked. */
export class Texts {
  constructor({ store, commands, prefix }) {
    this.store = store;
    const box = (field, placeholder, label, more = {}) => element("input", {
      class: "pnb-input", placeholder, "aria-label": label, ...more,
      onchange: (e) => commands.setField(field, e.target.value),
    });
    const list = `pnb-classes-${prefix}`;
    this.boxes = {
      name: box("name", "name", "Name of the selected particle"),
      label: box("label", "class", "Class of the selected particles", { list }),
      note: box("note", "note", "Note on the selected particle"),
    };
    this.classes = element("datalist", { id: list });
    const small = (name, label, key, field) => element("button", {
      type: "button", class: "pnb-button pnb-small", title: `${label} (${key})`, "aria-label": label,
      onclick: () => commands.toggle(field),
    }, icon(name));
    this.node = element("div", { class: "pnb-edit" },
      element("div", { class: "pnb-edit-row" }, this.boxes.name, this.boxes.label, this.classes),
      element("div", { class: "pnb-edit-row" }, this.boxes.note,
        small("eye", "Show or hide", "V", "visible"), small("lock", "Lock or unlock", "L", "locked")));
  }

  /** What somebody is typing is left alone, unless other particles are selected now. */
  show(typing = document.activeElement) {
    const any = this.store.selection.size > 0;
    for (const [field, box] of Object.entries(this.boxes)) {
      if (box !== typing || !any) box.value = this.store.common(field);
      box.disabled = !any;
    }
  }

  showClasses() {
    this.classes.replaceChildren(...this.store.classes().map((value) => element("option", { value })));
  }
}
