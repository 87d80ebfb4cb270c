// The way to the kernel: requests with ids, and who waits for an answer.

const SLOW = 6000; // milliseconds after which a person is told that there is no answer yet

/** `handlers` are receive(message, buffers, mine), sent(kind), lost(), slow(kind). */
export class Link {
  constructor(model, handlers) {
    this.model = model;
    this.handlers = handlers;
    this.prefix = Math.random().toString(36).slice(2, 8);
    this.count = 0;
    this.pending = new Map();
    this.lost = false; // whether the kernel is gone
    this.onMessage = (message, buffers) => this.receive(message, buffers || []);
    this.onLive = () => this.lose();
    model.on("msg:custom", this.onMessage);
    model.on("comm_live_update", this.onLive);
    this.watch = setInterval(() => this.checkPending(), 1000);
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onLive);
    clearInterval(this.watch);
  }

  request(kind, content = {}) {
    const id = `${this.prefix}-${++this.count}`;
    this.handlers.sent(kind);
    this.pending.set(id, { kind, since: performance.now() });
    // Jupyter's server leaves Nagle's algorithm on: an answer soon after the kernel's "busy" would
    // wait up to 40 ms for its acknowledgement, which travels with whatever is sent from here
    const status = (said) => {
      if (said?.content?.execution_state === "busy" && this.pending.has(id)) this.model.send({ kind: "ack" });
    };
    try {
      this.model.send({ id, kind, ...content }, { iopub: { status } });
    } catch (error) {
      this.pending.delete(id);
      this.lose();
    }
    return id;
  }

  act(line) {
    return this.request("do", { line: { ...line } });
  }

  /** Whether an action has no answer yet. */
  get acting() {
    return [...this.pending.values()].some(({ kind }) => kind === "do" || kind === "classify");
  }

  receive(message, buffers) {
    if (message.re) this.pending.delete(message.re);
    this.handlers.receive(message, buffers, !!message.re?.startsWith(this.prefix));
  }

  checkPending() {
    const now = performance.now();
    const late = [...this.pending.values()].find(({ since }) => now - since > SLOW);
    if (late) this.handlers.slow(late.kind);
  }

  lose() {
    this.pending.clear();
    this.lost = true;
    this.handlers.lost();
  }
}
