// Who wants to know of a change says so; who makes it need not know who that is.

export class Signals {
  #listeners = new Map();

  on(name, run) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), run]);
  }

  /** Call the listeners of `name` in the order in which they came. */
  emit(name, ...facts) {
    for (const run of this.#listeners.get(name) ?? []) run(...facts);
  }
}
