// The menu of the right button: what can be done with what lies there.

import { element } from "./elements.mjs";

/** The rows of a menu, [label, key, command, ...arguments]; null parts groups. `state` has chosen
 *  (numbers of the selected), draft, hidden (whether any of them is), locked, and the spot. */
export function menuRows({ chosen, draft, hidden, locked, spot }) {
  const one = chosen.length === 1, what = one ? `particle ${chosen[0]}` : `${chosen.length} particles`;
  const making = [
    ["Point outside, here", "Alt+click", "placePoint", spot.x, spot.y, 0],
    ["Commit the particle", "C", "commit"],
    ["Discard it", "Esc", "cancel"],
    null,
  ];
  const selected = [
    one && ["Refine", "R", "refine"],
    !one && ["Merge", "G", "onSelected", "merge"],
    ["Fill holes", "F", "onSelected", "fill"],
    ["Copy", "Ctrl+C", "copy"],
    ["Duplicate", "Ctrl+D", "duplicate"],
    [hidden ? "Show" : "Hide", "V", "toggle", "visible"],
    ["Take the class away", "", "classify", 0],
    [locked ? "Unlock" : "Lock", "L", "toggle", "locked"],
    ["Accept, and next doubtful", "Y", "judge", "accept"],
    [`Delete ${what}`, "Del", "onSelected", "delete"],
    null,
  ];
  return [
    ...(draft ? making : []),
    ...(chosen.length ? selected.filter((row) => row !== false) : []),
    ["Paste here", "Ctrl+V", "paste", spot],
    ["Select all", "Ctrl+A", "selectAll"],
    ["Show or hide all masks", "", "hideAll"],
    ["Fit the image", "0", "fit"],
    ["Keys", "?", "toggleHelp"],
  ];
}

/** Where a menu of a size goes so that it stays inside: at the place, or against the far rim. */
export function menuPlace(at, size, room) {
  return Math.max(2, Math.min(at, room - size - 2));
}

export class Menu {
  constructor({ root, top, store, commands }) {
    Object.assign(this, { root, top, store, commands });
    this.node = element("div", { class: "pnb-menu", role: "menu", "aria-label": "What can be done here", hidden: true });
    this.node.addEventListener("keydown", (e) => this.#key(e));
    this.node.addEventListener("focusout", (e) => { if (!this.node.contains(e.relatedTarget)) this.close(false); });
    this.node.addEventListener("contextmenu", (e) => e.preventDefault());
    // JupyterLab's own menu knows nothing of what lies here; the browser's stays in text boxes
    root.addEventListener("contextmenu", (e) => e.stopPropagation());
    commands.context = this;
  }

  /** Open at an image position that lies at (x, y) of the canvas, in CSS pixels. */
  open(spot, x, y) {
    const found = this.store.pick(spot.x, spot.y);
    if (found && !this.store.selection.has(found.id)) this.commands.select([found.id]);
    const { left, top } = this.root.getBoundingClientRect(), canvas = this.top.getBoundingClientRect();
    this.show(spot, canvas.left - left + x, canvas.top - top + y);
  }

  /** Open for the selected at a place of the widget. */
  show(spot, x, y) {
    const { store } = this, chosen = store.chosen, some = chosen.map((id) => store.particles.get(id));
    const hidden = some.some((p) => !p.visible), locked = some.length > 0 && some.every((p) => p.locked);
    const rows = menuRows({ chosen, draft: store.draft, hidden, locked, spot });
    this.node.replaceChildren(...rows.map((row) => (row ? this.#item(...row) : element("div", { role: "separator" }))));
    this.node.hidden = false;
    const { offsetWidth: wide, offsetHeight: high } = this.node, { clientWidth, clientHeight } = this.root;
    this.node.style.left = `${menuPlace(x, wide, clientWidth)}px`;
    this.node.style.top = `${menuPlace(y, high, clientHeight)}px`;
    this.#items()[0].focus({ preventScroll: true });
  }

  #item(label, key, command, ...more) {
    return element("button", {
      type: "button", role: "menuitem", tabindex: -1, "data-command": command,
      onclick: () => { this.close(); this.commands[command](...more); },
    }, element("span", {}, label), element("kbd", { "aria-hidden": "true" }, key));
  }

  #items() {
    return [...this.node.querySelectorAll("button")];
  }

  close(back = true) {
    if (this.node.hidden) return;
    this.node.hidden = true;
    if (back) this.top.focus({ preventScroll: true });
  }

  /** A click beside the menu closes it and does nothing else; whether it was open. */
  dismiss() {
    const open = !this.node.hidden;
    this.close();
    return open;
  }

  #key(event) {
    const items = this.#items(), at = items.indexOf(document.activeElement), n = items.length;
    const to = { ArrowUp: (at + n - 1) % n, ArrowDown: (at + 1) % n, Home: 0, End: n - 1 }[event.key];
    if (to != null) items[to].focus();
    else if (event.key === "Escape" || event.key === "Tab") this.close();
    else return;
    event.preventDefault();
  }
}
