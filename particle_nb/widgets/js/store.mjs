// What the kernel said last, and what is selected of it. No document here, and no drawing.

import { centresAround, centresIn, readMask, smallestAt } from "./masks.mjs";
import { Signals } from "./signals.mjs";

/** Emits "selection" when another one is made. */
export class Store extends Signals {
  constructor() {
    super();
    this.picture = null; // the pixels, once all have come
    this.info = null; // what came with them: size, calibration, names
    this.particles = new Map(); // by number, ascending
    this.columns = [];
    this.selection = new Set();
    this.draft = null;
    this.summary = null;
    this.premises = null; // {pixel, scale, drawn, regions, share}
    this.names = []; // of the classes, in the order of their keys
    this.told = new Map(); // predicted classes: {guess, chance} by number
    this.classing = { status: "", waiting: 0 }; // what is missing before classes can be predicted
    this.history = { position: 0, length: 0 };
    this.settings = this.usual = this.off = this.removed = null; // thresholds
    this.seq = 0;
  }

  /** Take over a message of the kind "delta".
   *
   *  Gives what must be shown anew: `added` are particles that came on top of the others, null if
   *  any other came or went; `selected` says whether one of the selected changed, `refined`
   *  whether another particle than before is being refined.
   */
  apply(message, buffers) {
    const refined = this.draft?.refines ?? null;
    if (message.full) {
      this.particles.clear();
      const { usual, off } = message;
      Object.assign(this, { usual, off });
    }
    this.columns = message.columns ?? this.columns;
    this.premises = message.premises ?? this.premises;
    if (message.premises && this.info) this.info.pixel = message.premises.pixel;
    let selected = false;
    for (const id of message.removes) {
      this.particles.delete(id);
      selected = this.selection.delete(id) || selected;
    }
    const onTop = this.#put(message.upserts, buffers) && !message.full && !message.removes.length;
    selected ||= message.upserts.some(({ id }) => this.selection.has(id));
    if (message.draft !== undefined) this.draft = message.draft && readDraft(message.draft, buffers);
    this.summary = message.summary || this.summary;
    this.settings = message.settings || this.settings;
    this.removed = message.removed || this.removed;
    this.history = message.history;
    this.seq = message.seq;
    this.#guess();
    return {
      added: onTop ? message.upserts.map(({ id }) => this.particles.get(id)) : null,
      selected,
      refined: refined !== (this.draft?.refines ?? null),
    };
  }

  /** Add or replace particles; whether all of them came on top of the others. */
  #put(upserts, buffers) {
    let onTop = true, top = upserts.length ? [...this.particles.keys()].pop() ?? 0 : 0;
    for (const info of upserts) {
      const old = this.particles.get(info.id);
      if (info.id > top) top = info.id;
      else onTop = false;
      this.particles.set(info.id, info.buffer == null ? { ...info, shape: old.shape } : readMask(info, buffers));
    }
    if (!onTop) this.particles = new Map([...this.particles].sort((a, b) => a[0] - b[0]));
    return onTop;
  }

  /** Take over a message of the kind "classes": names, predictions, or how many masks wait. */
  applyClasses({ names, told, status, waiting }) {
    this.classing = { status: status ?? this.classing.status, waiting };
    if (!names) return;
    this.names = names;
    this.told = new Map(told.map(([id, place, chance]) => [id, { guess: names[place] ?? "unknown", chance }]));
    this.#guess();
  }

  /** Particles come anew with every change; what was predicted of them stays. */
  #guess() {
    for (const particle of this.particles.values()) {
      const { guess = "", chance = null } = (!particle.label && this.told.get(particle.id)) || {};
      Object.assign(particle, { guess, chance });
    }
  }

  /** Take over which particles a trial of thresholds keeps. */
  applyKept({ of, kept, removed, summary }) {
    const all = new Set(kept);
    for (const id of of) {
      const particle = this.particles.get(id);
      if (particle) particle.kept = all.has(id);
    }
    Object.assign(this, { removed, summary });
  }

  select(ids) {
    this.selection = new Set([...ids].filter((id) => this.particles.has(id)));
    this.emit("selection");
  }

  /** The selected particle if it is one, else null. */
  get only() {
    return this.selection.size === 1 ? this.particles.get(this.chosen[0]) : null;
  }

  /** The numbers of the selected. */
  get chosen() {
    return [...this.selection];
  }

  /** The draft's mask that is shown. */
  get candidate() {
    return this.draft?.candidates[this.draft.choice];
  }

  /** The particles that no threshold hides. */
  kept() {
    return [...this.particles.values()].filter((p) => p.kept);
  }

  /** Names of classes: those with a key in its order, then others that particles have. */
  classes() {
    const worn = [...this.particles.values()].map((p) => p.label).filter(Boolean).sort();
    return [...new Set([...this.names, ...worn])];
  }

  pick(x, y) {
    return smallestAt(this.particles.values(), x, y);
  }

  within(box) {
    return centresIn(this.particles.values(), box);
  }

  around(path) {
    return centresAround(this.particles.values(), path);
  }

  /** What all the selected have in common in a field, or an empty text. */
  common(field) {
    const values = new Set(this.chosen.map((id) => this.particles.get(id)[field]));
    return values.size === 1 ? [...values][0] : "";
  }
}

export function readDraft(draft, buffers) {
  return { ...draft, candidates: draft.candidates.map((c) => readMask(c, buffers)) };
}
