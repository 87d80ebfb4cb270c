// What the kernel's messages change, and what must be shown anew for it.

import { Picture } from "./picture.mjs";

export class Inbox {
  constructor(parts) {
    Object.assign(this, parts); // everything of the widget: a message may touch all of it
    this.incoming = null;
  }

  receive(message, buffers, mine) {
    const { notices, hand, painter } = this;
    if (message.re && hand.asked.delete(message.re)) painter.paintTop();
    if (message.re || message.kind === "image") notices.answered();
    switch (message.kind) {
      case "image":
        return this.image(message, buffers);
      case "delta":
        return this.delta(message, buffers);
      case "classes":
        return this.sort(message);
      case "learn":
        return this.learning.receive(message);
      case "select":
        return this.store.select(message.ids);
      case "selected": // by a hand in another view
        return mine ? null : this.store.select(message.ids);
      case "error":
        return message.re && !mine ? null : this.error(message);
    }
    if (mine) this.answer(message, buffers);
  }

  /** The answer to a request of this view. */
  answer(message, buffers) {
    switch (message.kind) {
      case "hover":
        return this.foresight.receive(message, buffers);
      case "value":
        return this.probe.receive(message);
      case "channel":
        return this.notices.say(message.text);
      case "bar":
        return this.ruler.receive(message);
      case "next":
        return this.goTo(message);
      case "kept":
        return this.kept(message);
      case "copied": {
        const many = message.count === 1 ? "1 particle" : `${message.count} particles`;
        return this.notices.say(`${many} copied; Ctrl+V pastes at the cursor`);
      }
      case "saved":
        return this.notices.say(`saved as ${message.path}`);
    }
  }

  error({ of, message }) {
    const { foresight, filters, notices, probe } = this;
    if (of === "hover") return foresight.fail();
    if (of === "probe") probe.busy = false;
    if (of === "filter") filters.trial.busy = false;
    filters.trial.giveUp();
    notices.fail(message);
  }

  lost() {
    const { hand, foresight, probe, filters, painter, notices, frame } = this;
    hand.asked.clear();
    foresight.busy = probe.busy = filters.trial.busy = false;
    painter.paintTop();
    frame.lost();
    notices.kernelGone();
  }

  /** A part of the image; it is shown once all parts are there. */
  async image(message, buffers) {
    const { store, camera, frame, painter, appearance } = this;
    if (message.first || !this.incoming) this.incoming = new Picture(message.width, message.height, message.channels);
    const picture = this.incoming;
    await Promise.all(message.tiles.map(([x, y], i) => picture.put(x, y, buffers[i])));
    picture.arrived = (picture.arrived || 0) + message.tiles.length;
    if (picture.arrived < message.total) return;
    picture.finish();
    const fresh = !store.picture;
    Object.assign(store, { picture, info: message });
    camera.image = picture;
    appearance.window(message.low, message.high);
    if (fresh) {
      frame.resize();
      camera.fit();
    }
    frame.ready();
    painter.paint();
  }

  delta(message, buffers) {
    const { store, hand, filters, appearance, notices, list, texts, frame, painter, root } = this;
    const { added, selected, refined } = store.apply(message, buffers);
    if (message.columns) {
      appearance.showColumns();
      list.showColumns();
    }
    if (message.premises) {
      this.ruler.settled();
      this.regions.show();
    }
    if (message.draft !== undefined) hand.preview = null;
    if (message.settings) filters.trial.settle();
    if (message.select) store.select(message.select);
    else if (selected) {
      frame.showSelected();
      texts.show();
    }
    if (message.full || message.upserts.length || message.removes.length || message.summary) this.panel();
    this.buttons();
    notices.showPlace();
    frame.ready();
    if (message.hint) notices.say(message.hint);
    // a draft lies on the upper canvas, a new particle on top of the others: neither costs more
    // where there are many particles
    const done = () => { root.dataset.maskSeq = message.seq; };
    if (!added || refined || message.premises) painter.paint(done);
    else if (added.length) painter.paintOver(added, done);
    else painter.paintTop(done);
  }

  kept(message) {
    const { store, painter, root, filters } = this;
    store.applyKept(message);
    this.panel();
    this.buttons();
    painter.paint(() => { root.dataset.filterSeq = Number(root.dataset.filterSeq || 0) + 1; });
    filters.trial.answered();
  }

  /** Names or predictions of classes: no mask changes. */
  sort(message) {
    const { store, painter, root, notices, classes, list, palette } = this;
    store.applyClasses(message);
    const done = () => { root.dataset.classSeq = Number(root.dataset.classSeq || 0) + 1; };
    classes.show();
    if (!message.names) return;
    if (store.summary) list.show();
    notices.showLegend();
    if (palette.by === "class" || palette.by === "probability") painter.paint(done);
    else done();
  }

  goTo({ particle: id, left, by }) {
    const { store, commands, notices, camera } = this, particle = store.particles.get(id);
    if (!particle) {
      commands.select([]);
      return notices.say(by ? "every particle has a class" : "no doubtful particle is left: all were accepted");
    }
    commands.select([id]);
    notices.say(by ? unsureText(particle, left) : doubtText(particle, left));
    camera.approach(particle.shape);
  }

  /** Particles or their numbers changed. */
  panel() {
    const { store, palette, sizes, filters, notices, list, texts, classes } = this;
    if (!store.summary) return;
    palette.forget();
    sizes.show();
    filters.show();
    notices.showLegend();
    list.show();
    texts.showClasses();
    classes.show();
  }

  buttons() {
    const { toolbar, store, root } = this;
    toolbar.showAble();
    root.dataset.position = store.history.position;
    root.dataset.count = store.summary?.count ?? 0;
  }
}

/** What is said of a mask that the model doubts. */
function doubtText({ id, confidence, iou }, left) {
  const sure = confidence != null ? `, confidence ${confidence.toFixed(2)}` : iou != null ? `, predicted IoU ${iou.toFixed(2)}` : "";
  return `particle ${id}${sure}: Y accepts, J rejects; ${left} not accepted yet`;
}

/** What is said of a particle whose class is asked for. */
function unsureText({ id, guess, chance }, left) {
  const sure = chance == null ? "" : chance.toFixed(2), thought = guess ? `, ${guess}? ${sure}` : "";
  return `particle ${id}${thought}: 1 to 9 give a class; ${left} without one`;
}
