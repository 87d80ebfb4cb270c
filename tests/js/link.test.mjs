
// Requests to the kernel and their answers.
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { Link } from "../../particle_nb/widgets/js/link.mjs";

const links = [];
after(() => links.forEach((link) => link.close()));

function made() {
  const model = { sent: [], heard: {}, on: (name, run) => { model.heard[name] = run; }, off: () => {} };
  model.send = (content, callbacks) => model.sent.push({ content, callbacks });
  const told = [], tell = (name) => (...facts) => told.push([name, ...facts]);
  const link = new Link(model, { receive: tell("receive"), sent: tell("sent"), lost: tell("lost"), slow: tell("slow") });
  links.push(link);
  return { model, told, link };
}

test("an answer ends its request and is told apart from those of other views", () => {
  const { model, told, link } = made(), id = link.request("select", { ids: [1] });
  assert.deepEqual(model.sent[0].content, { id, kind: "select", ids: [1] });
  assert.ok(link.pending.has(id) && !link.acting);
  const other = { re: "someone-1", kind: "delta" }, mine = { re: id, kind: "selected" };
  model.heard["msg:custom"](other, null);
  model.heard["msg:custom"](mine, [1]);
  assert.deepEqual(told, [["sent", "select"], ["receive", other, [], false], ["receive", mine, [1], true]]);
  assert.equal(link.pending.size, 0);
  link.act({ action: "commit" });
  assert.ok(link.acting);
  assert.deepEqual(model.sent[1].content.line, { action: "commit" });
});

test("the kernel's busy is acknowledged while the answer is awaited, and only then", () => {
  const { model, link } = made(), id = link.request("do");
  const { status } = model.sent[0].callbacks.iopub, busy = { content: { execution_state: "busy" } };
  status(busy);
  assert.deepEqual(model.sent[1].content, { kind: "ack" });
  model.heard["msg:custom"]({ re: id, kind: "delta" });
  status(busy);
  assert.equal(model.sent.length, 2);
});

test("a request that waits too long is told, one that cannot be sent means that the kernel is gone", () => {
  const { model, told, link } = made(), id = link.request("ready");
  link.checkPending();
  assert.equal(told.length, 1);
  link.pending.get(id).since -= 6001;
  link.checkPending();
  assert.deepEqual(told.at(-1), ["slow", "ready"]);
  model.send = () => { throw new Error("closed"); };
  link.request("do");
  assert.deepEqual(told.at(-1), ["lost"]);
  assert.ok(link.lost && link.pending.size === 0);
});
