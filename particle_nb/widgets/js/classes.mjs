// Classes of particles: the palette of keys, names and counts, and what is missing to predict.

import { element, textButton } from "./elements.mjs";
import { swatch } from "./notices.mjs";

/** Labelled and predicted particles of each class: {name: [labelled, predicted]}, and of none. */
export function classCounts(particles, names) {
  const counts = new Map([...names, "unknown"].map((name) => [name, [0, 0]]));
  for (const p of particles) {
    const own = counts.get(p.label || p.guess);
    if (own) own[p.label ? 0 : 1]++;
  }
  return counts;
}

/** The palette with one name changed, the others in their places; null if that cannot be. */
export function renamed(names, place, text) {
  const name = text.trim();
  if (!name || (names.includes(name) && names[place] !== name)) return null;
  return names.map((old, i) => (i === place ? name : old));
}

/** Before predictions can be made, what they wait for; else an empty text. */
export function classStatus({ status, waiting }) {
  if (waiting) return `Looking at the particles: ${waiting} to go …`;
  return status;
}

export class Classes {
  constructor({ store, link, commands, notices, palette, top }) {
    Object.assign(this, { store, link, commands, notices, palette });
    this.leave = () => top.focus({ preventScroll: true });
    this.rows = element("div", { class: "pnb-classes", role: "list", "aria-label": "Classes" });
    this.status = element("p", { class: "pnb-empty", role: "status" });
    this.queue = element("select", {
      class: "pnb-select", title: "What Q goes to next", "aria-label": "What Q goes to next",
      onchange: () => { commands.queue = this.queue.value; },
    }, element("option", { value: "mask" }, "doubtful masks"), element("option", { value: "class" }, "unsure classes"));
    this.queue.value = commands.queue;
    this.nodes = [
      this.rows,
      element("div", { class: "pnb-edit-row" },
        textButton("add a class", "Add a class to the palette", () => this.#add()),
        textButton("no class", "Take the class of the selected away", () => commands.classify(0))),
      this.status,
      element("label", { class: "pnb-slider pnb-wide" }, element("span", {}, "Q goes to"), this.queue),
    ];
  }

  #add() {
    const { names } = this.store;
    let number = names.length + 1;
    while (names.includes(`class ${number}`)) number++;
    this.link.act({ action: "classes", names: [...names, `class ${number}`] });
  }

  #rename(place, box) {
    const { names } = this.store, next = renamed(names, place, box.value);
    if (!next) {
      box.value = names[place];
      return this.notices.fail("Every class needs a name of its own.");
    }
    if (next[place] !== names[place])
      this.link.act({ action: "classes", names: next, rename: { [names[place]]: next[place] } });
  }

  show() {
    const { names, classing } = this.store, counts = classCounts(this.store.kept(), names);
    this.status.textContent = classStatus(classing)
      || (names.length ? "" : "Select particles, or point at one, and press 1 to 9.");
    this.status.hidden = !this.status.textContent;
    const typing = this.rows.contains(document.activeElement) && document.activeElement.matches("input");
    if (typing && this.rows.children.length === names.length) return this.#recount(counts);
    this.rows.replaceChildren(...names.map((name, place) => this.#row(name, place, counts.get(name))));
  }

  /** Somebody types a name: only the numbers change. */
  #recount(counts) {
    [...this.rows.children].forEach((row, i) => {
      row.dataset.class = this.store.names[i];
      row.lastChild.textContent = countText(counts.get(this.store.names[i]));
    });
  }

  #row(name, place, count) {
    const key = place < 9 ? String(place + 1) : "", hint = key && ` (${key})`;
    const box = element("input", {
      class: "pnb-input", value: name, "aria-label": `Name of class ${place + 1}`,
      onchange: () => this.#rename(place, box),
      onkeydown: (e) => { if (e.key === "Enter") this.leave(); },
    });
    const give = element("button", {
      type: "button", class: "pnb-key", title: `Give this class to the selected${hint}`,
      "aria-label": `Give the class ${name} to the selected`, "aria-keyshortcuts": key,
      onclick: () => this.commands.giveClass(name),
    }, swatch(this.palette.ofClass(name)), key);
    return element("div", { class: "pnb-edit-row", role: "listitem", "data-class": name }, give, box,
      element("span", { class: "pnb-count", title: "named by hand + predicted" }, countText(count)));
  }
}

/** "3 + 17": named and predicted. */
function countText([named, thought]) {
  return thought ? `${named} + ${thought}` : String(named);
}
