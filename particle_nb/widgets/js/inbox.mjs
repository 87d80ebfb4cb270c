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
      case "select":
        return this.store.select(message.ids);
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
      case "next":
        return this.goTo(message.particle, message.left);
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
    if (message.full) {
      appearance.showColumns();
      list.showColumns();
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
    if (!added || refined) painter.paint(done);
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

  goTo(id, left) {
    const { store, commands, notices, camera } = this, particle = store.particles.get(id);
    if (!particle) {
      commands.select([]);
      return notices.say("no doubtful particle is left: all were accepted");
    }
    commands.select([id]);
    const iou = particle.iou == null ? "" : `, predicted IoU ${particle.iou.toFixed(2)}`;
    notices.say(`particle ${id}${iou}: Y accepts, J rejects; ${left} not accepted yet`);
    camera.approach(particle.shape);
  }

  /** Particles or their numbers changed. */
  panel() {
    const { store, palette, sizes, filters, notices, list, texts } = this;
    if (!store.summary) return;
    palette.forget();
    sizes.show();
    filters.show();
    notices.showLegend();
    list.show();
    texts.showClasses();
  }

  buttons() {
    const { toolbar, store, root } = this;
    toolbar.showAble();
    root.dataset.position = store.history.position;
    root.dataset.count = store.summary?.count ?? 0;
  }
}
