// The tools above the picture: one stop of the Tab key, arrows move in it (WAI-ARIA, "toolbar").

import { element, icon } from "./elements.mjs";
import { TOOLS } from "./keys.mjs";

const ITEMS = "button, select, input";

export class Toolbar {
  constructor({ top, store, hand, commands, foresight, help, painter }) {
    Object.assign(this, { top, store, hand });
    this.buttons = {};
    const make = (name, label, key, run, more = {}) => (this.buttons[name] = this.#button(name, label, key, run, more));
    const group = (label, ...children) => element("div", { class: "pnb-group", role: "group", "aria-label": label }, ...children);
    const on = (action) => () => commands.onSelected(action);
    this.sign = element("button", {
      type: "button", class: "pnb-button pnb-sign", title: "Sign of the next point (T)",
      "aria-label": "Sign of the next point", "data-action": "sign", onclick: () => commands.turnSign(),
    }, "+");
    this.radius = element("input", {
      type: "range", min: 1, max: 100, value: hand.radius, class: "pnb-radius",
      title: "Brush radius in image pixels ([ ])", "aria-label": "Brush radius in image pixels",
      oninput: () => { hand.setRadius(Number(this.radius.value)); painter.paintTop(); },
    });
    this.target = element("select", {
      class: "pnb-select", title: "Which candidate is offered first (W)",
      "aria-label": "Which candidate is offered first", onchange: () => commands.aimAt(this.target.value),
    }, ...[["best", "best"], ["whole", "whole particle"], ["feature", "feature on it"]]
      .map(([value, text]) => element("option", { value }, text)));
    this.node = element("div", { class: "pnb-bar", role: "toolbar", "aria-label": "Annotation tools" },
      group("tools", ...TOOLS.map(([name, label, key]) => make(name, label, key, () => commands.take(name), { "aria-pressed": "false" }))),
      group("prompt", this.sign, this.target, make("next", "Next candidate", "N", () => commands.nextCandidate())),
      group("draft",
        make("commit", "Commit the particle", "C", () => commands.commit()),
        make("cancel", "Discard the draft", "Escape", () => commands.cancel())),
      group("selected particles",
        make("refine", "Refine the selected particle", "R", () => commands.refine()),
        make("merge", "Merge the selected", "G", on("merge")),
        make("fill", "Fill holes of the selected", "F", on("fill")),
        make("remove", "Delete the selected", "Delete", on("delete"))),
      group("review",
        make("doubt", "Next most doubtful particle", "Q", () => commands.doubtful()),
        make("accept", "Accept it", "Y", () => commands.judge("accept"))),
      group("history",
        make("undo", "Undo", "Control+Z", () => commands.undo()),
        make("redo", "Redo", "Control+Shift+Z", () => commands.redo())),
      element("div", { class: "pnb-group pnb-radius-group" }, this.radius),
      element("div", { class: "pnb-space" }),
      group("view and file",
        make("hover", "Hover preview", "H", () => commands.togglePreview(), { "aria-pressed": "true" }),
        make("fit", "Fit the image", "0", () => commands.fit()),
        make("save", "Save", "Control+S", () => commands.save()),
        make("help", "Keys", "?", null, { "aria-expanded": "false", onclick: () => commands.toggleHelp() })));
    this.node.addEventListener("focusin", (event) => this.rove(event.target));
    help.turned = (shown) => this.buttons.help.setAttribute("aria-expanded", String(shown));
    foresight.turned = (on) => this.buttons.hover.setAttribute("aria-pressed", String(on));
    hand.on("tool", () => this.showTool());
    hand.on("sign", () => this.showSign());
    hand.on("radius", () => { this.radius.value = hand.radius; });
    hand.on("target", () => { this.target.value = hand.offered; });
  }

  #button(name, label, key, run, more) {
    return element("button", {
      type: "button", class: "pnb-button", title: `${label} (${key})`, "aria-label": label,
      "aria-keyshortcuts": key, "data-action": name, onclick: () => { run(); this.#back(); }, ...more,
    }, icon(name));
  }

  #back() {
    this.top.focus({ preventScroll: true });
  }

  showTool() {
    const { tool } = this.hand;
    for (const [name] of TOOLS) this.buttons[name].setAttribute("aria-pressed", String(name === tool));
    this.rove(this.buttons[tool]);
  }

  showSign() {
    this.sign.textContent = this.hand.sign ? "+" : "−";
    this.sign.dataset.sign = this.hand.sign;
    this.#back();
  }

  /** Which buttons can do something now. */
  showAble() {
    const many = this.store.selection.size, { history, draft } = this.store;
    const able = {
      undo: history.position > 0,
      redo: history.position < history.length,
      commit: !!draft,
      cancel: !!draft,
      next: (draft?.candidates.length ?? 0) > 1,
      refine: many === 1,
      merge: many > 1,
      fill: many > 0,
      remove: many > 0,
      accept: many > 0,
    };
    for (const [name, yes] of Object.entries(able)) this.buttons[name].setAttribute("aria-disabled", String(!yes));
  }

  rove(item) {
    for (const other of this.node.querySelectorAll(ITEMS)) other.tabIndex = other === item ? 0 : -1;
  }

  /** Move the focus by an arrow, Home or End. */
  along(key) {
    const items = [...this.node.querySelectorAll(ITEMS)].filter((node) => node.offsetParent), n = items.length;
    const at = items.indexOf(document.activeElement);
    items[{ ArrowLeft: (at + n - 1) % n, ArrowRight: (at + 1) % n, Home: 0, End: n - 1 }[key]].focus();
  }
}
