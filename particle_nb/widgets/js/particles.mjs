// The list of particles, of which only the rows that can be seen are in the document, and the texts
// of the selected.

import { element, icon } from "./elements.mjs";
import { formatLength } from "./format.mjs";
import { swatch } from "./notices.mjs";

const TALL = 24; // of a row in CSS pixels

/** Those whose number, name, class or note has a text in it. */
export function matching(particles, text) {
  const wanted = text.trim().toLowerCase();
  const said = (p) => `${p.id} ${p.name} ${p.label} ${p.note}`.toLowerCase();
  return wanted ? particles.filter((p) => said(p).includes(wanted)) : particles;
}

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
      type: "search", class: "pnb-input", placeholder: "filter list: number, name, class",
      "aria-label": "Filter the list of particles", oninput: () => this.show(),
    });
    this.rows = element("div", {
      class: "pnb-rows", role: "listbox", "aria-multiselectable": "true", "aria-label": "Particles", tabindex: "0",
      onscroll: () => this.show(), onkeydown: (e) => this.#key(e), onclick: (e) => this.#click(e),
    });
    this.nodes = [this.search, this.rows];
  }

  #listed() {
    return matching(this.store.kept(), this.search.value);
  }

  show() {
    const all = this.#listed(), { scrollTop, clientHeight } = this.rows;
    this.order = all.map((p) => p.id);
    const first = Math.max(0, Math.floor(scrollTop / TALL) - 2);
    const last = Math.min(all.length, first + Math.ceil((clientHeight || 190) / TALL) + 4);
    const box = element("div", { class: "pnb-rows-box", style: `height:${all.length * TALL}px`, role: "presentation" });
    const colours = this.palette.colours(), { columns, summary } = this.store;
    const column = columns.indexOf(summary?.size_column);
    for (let i = first; i < last; i++) {
      const size = column >= 0 && all[i].row ? formatLength(all[i].row[column], summary.unit) : "";
      box.append(this.#row(all[i], i, all.length, colours(all[i]), size));
    }
    if (!all.length) {
      const none = this.store.particles.size ? "nothing matches" : "Click a particle in the image, then press C.";
      box.append(element("p", { class: "pnb-empty" }, none));
    }
    this.rows.replaceChildren(box);
  }

  #row(p, place, count, colour, size) {
    const chosen = this.store.selection.has(p.id), label = p.name && p.label ? element("em", {}, ` ${p.label}`) : null;
    return element("div", {
      class: `pnb-row${chosen ? " pnb-on" : ""}${p.visible ? "" : " pnb-dim"}`, id: `${this.prefix}-row-${p.id}`,
      role: "option", "aria-selected": String(chosen), "aria-setsize": count, "aria-posinset": place + 1,
      "data-id": p.id, style: `top:${place * TALL}px`, title: p.note || null,
    },
    swatch(colour),
    element("span", { class: "pnb-id" }, String(p.id)),
    element("span", { class: "pnb-name" }, p.name || p.label || "", label),
    p.locked ? icon("lock") : null, p.review ? icon("commit") : null,
    element("span", { class: "pnb-size" }, size),
    element("span", { class: "pnb-iou", title: "predicted IoU" }, p.iou == null ? "" : p.iou.toFixed(2)));
  }

  /** Scroll to what was selected last, and name it to screen readers. */
  showSelection() {
    const last = this.store.chosen.pop();
    if (last != null) {
      const at = this.#listed().findIndex((p) => p.id === last), { scrollTop, clientHeight } = this.rows;
      if (at >= 0 && (at * TALL < scrollTop || (at + 1) * TALL > scrollTop + clientHeight))
        this.rows.scrollTop = at * TALL - clientHeight / 2;
      this.rows.setAttribute("aria-activedescendant", `${this.prefix}-row-${last}`);
    }
    if (this.store.summary) this.show();
  }

  #click(event) {
    const row = event.target.closest(".pnb-row");
    if (!row) return;
    const id = Number(row.dataset.id), { shiftKey, ctrlKey, metaKey } = event;
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

  #choose(id, ids) {
    this.anchor = id;
    this.commands.select(ids);
    const particle = this.store.particles.get(id);
    if (particle) this.camera.reveal(...particle.centre);
  }
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
