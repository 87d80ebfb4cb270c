// The prompt canvas of particle_nb: puts its parts together in a cell.
//
// The kernel owns the data. These modules own what only the browser needs: the view, strokes that
// are being drawn, the hover preview. They depend on nothing and are joined into one by Python.

import { Appearance } from "./appearance.mjs";
import { Camera } from "./camera.mjs";
import { Classes } from "./classes.mjs";
import { Palette } from "./colour.mjs";
import { Commands } from "./commands.mjs";
import { element } from "./elements.mjs";
import { Filters } from "./filters.mjs";
import { Foresight, Probe } from "./foresight.mjs";
import { Frame } from "./frame.mjs";
import { Hand } from "./hand.mjs";
import { Inbox } from "./inbox.mjs";
import { Keyboard, TOOLS } from "./keys.mjs";
import { Learning } from "./learning.mjs";
import { Link } from "./link.mjs";
import { Menu } from "./menu.mjs";
import { Help, Notices } from "./notices.mjs";
import { Painter } from "./painter.mjs";
import { ParticleList, Texts } from "./particles.mjs";
import { Pointer } from "./pointer.mjs";
import { Regions } from "./regions.mjs";
import { Ruler } from "./ruler.mjs";
import { Sizes } from "./sizes.mjs";
import { Store } from "./store.mjs";
import { Toolbar } from "./toolbar.mjs";

/** All parts of one view; its fields are the parts, by name. */
class Widget {
  constructor(model, el) {
    this.store = new Store();
    this.hand = new Hand();
    this.camera = new Camera();
    this.palette = new Palette(this.store);
    this.root = element("div", {
      class: "pnb", "data-testid": "prompt-canvas", "data-state": "loading", "data-mask-seq": "0",
      "data-hover-seq": "0", "data-lm-suppress-shortcuts": "true", "aria-busy": "true",
    });
    this.base = element("canvas", { class: "pnb-base", "aria-hidden": "true" });
    this.top = element("canvas", {
      class: "pnb-top", tabindex: "0", role: "application", "aria-roledescription": "annotation canvas",
      "aria-label": "Micrograph with particle masks. Press question mark for the keys.",
    });
    this.painter = new Painter(this);
    this.style = this.painter.style;
    this.notices = new Notices(this);
    this.help = new Help(this.top);
    this.link = new Link(model, {
      receive: (...all) => this.inbox.receive(...all),
      lost: () => this.inbox.lost(),
      slow: (kind) => this.notices.slow(kind),
      sent: (kind) => this.#before(kind),
    });
    this.prefix = this.link.prefix;
    this.foresight = new Foresight(this);
    this.probe = new Probe({ store: this.store, hand: this.hand, link: this.link, show: () => this.notices.showPlace() });
    this.notices.greyOf = (x, y) => this.probe.text(x, y);
    this.commands = new Commands(this);
    this.menu = new Menu(this);
    this.ruler = this.commands.ruler = new Ruler(this);
    this.regions = this.commands.regions = new Regions(this);
    this.toolbar = new Toolbar(this);
    this.sizes = new Sizes({
      root: this.root, store: this.store, commands: this.commands, changed: () => this.inbox.panel(),
      leave: () => this.list.rows.focus({ preventScroll: true }),
    });
    this.list = new ParticleList(this);
    this.texts = new Texts(this);
    this.filters = new Filters(this);
    const recoloured = () => { this.notices.showLegend(); this.list.show(); };
    this.appearance = new Appearance({ store: this.store, painter: this.painter, palette: this.palette, recoloured });
    this.classes = new Classes(this);
    this.learning = new Learning(this);
    // the first class shows itself
    this.commands.classed = () => { if (this.palette.by === "particle") this.appearance.colourBy("class"); };
    this.frame = new Frame(el, this);
    this.pointer = new Pointer(this);
    this.keyboard = new Keyboard(this);
    this.inbox = new Inbox(this);
    this.#listen();
    this.commands.take("point");
    this.root.view = this;
    this.link.request("ready");
  }

  #listen() {
    const { store, hand, camera, painter, notices, root, frame } = this;
    store.on("selection", () => this.#showSelection());
    camera.on("moved", () => { notices.showPlace(); painter.paintView(); });
    hand.on("space", () => frame.showCursor());
    hand.on("tool", () => {
      const [, label, , text] = TOOLS.find(([name]) => name === hand.tool);
      notices.say(`${label}: ${text}`);
      root.dataset.tool = hand.tool;
      frame.showCursor();
      painter.paintTop();
    });
  }

  /** A request is on its way: what was done before goes first, and an old error goes. */
  #before(kind) {
    if (!["do", "undo", "redo", "save", "paste", "classify"].includes(kind)) return;
    this.notices.forgive();
    this.filters.trial.flush();
  }

  #showSelection() {
    const { store, notices } = this, { only } = store, many = store.selection.size;
    this.frame.showSelected();
    this.texts.show(null);
    const label = only?.label ? `, ${only.label}` : "";
    notices.whisper(only ? `particle ${only.id} selected${label}` : many ? `${many} particles selected` : "");
    this.list.showSelection();
    if (store.summary) this.sizes.showPlot();
    this.inbox.buttons();
    this.painter.paint();
  }

  destroy() {
    this.filters.trial.flush();
    this.link.close();
    this.frame.close();
    this.painter.close();
  }
}

function render({ model, el }) {
  const widget = new Widget(model, el);
  return () => widget.destroy();
}

export default { render };
