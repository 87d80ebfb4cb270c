
// What the kernel says, as the browser keeps it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Store } from "../../particle_nb/widgets/js/store.mjs";

const bits = [Uint8Array.from([0x80])];
const particle = (id, more = {}) => ({ id, box: [id, 0, id + 1, 1], buffer: 0, label: "", kept: true, visible: true, area: 1, centre: [0, id], ...more });
const delta = (more = {}) => ({ seq: 1, full: false, upserts: [], removes: [], history: { position: 1, length: 1 }, ...more });
const filled = (...ids) => {
  const store = new Store();
  store.apply(delta({ full: true, columns: ["x"], upserts: ids.map((id) => particle(id)) }), bits);
  return store;
};

test("particles are kept by number, ascending, and what came on top is told apart", () => {
  const store = filled(1, 2, 5);
  assert.deepEqual([...store.particles.keys()], [1, 2, 5]);
  assert.deepEqual(store.columns, ["x"]);
  let done = store.apply(delta({ seq: 2, upserts: [particle(7)] }), bits);
  assert.deepEqual(done.added.map((p) => p.id), [7]);
  done = store.apply(delta({ upserts: [particle(3)] }), bits);
  assert.equal(done.added, null, "below another");
  assert.deepEqual([...store.particles.keys()], [1, 2, 3, 5, 7]);
  done = store.apply(delta({ removes: [2], upserts: [particle(9)] }), bits);
  assert.equal(done.added, null);
  assert.ok(!store.particles.has(2));
  assert.deepEqual(store.apply(delta(), bits), { added: [], selected: false, refined: false });
});

test("a particle that comes without pixels keeps those that it had", () => {
  const store = filled(1), { shape } = store.particles.get(1);
  store.apply(delta({ upserts: [{ ...particle(1), buffer: null, label: "round" }] }), []);
  assert.equal(store.particles.get(1).shape, shape);
  assert.equal(store.particles.get(1).label, "round");
});

test("a selection follows what goes, and listeners hear of another one", () => {
  const store = filled(1, 2, 3), told = [];
  store.on("selection", () => told.push(store.chosen));
  store.select([2, 3, 99]);
  assert.deepEqual(told, [[2, 3]]);
  assert.equal(store.only, null);
  assert.ok(store.apply(delta({ removes: [3] }), bits).selected);
  assert.deepEqual(store.chosen, [2]);
  assert.equal(store.only.id, 2);
  assert.ok(store.apply(delta({ upserts: [particle(2, { label: "a" })] }), bits).selected);
  assert.ok(!store.apply(delta({ upserts: [particle(1)] }), bits).selected);
});

test("what the selected have in common", () => {
  const store = filled(1, 2);
  store.apply(delta({ upserts: [particle(1, { label: "a", name: "n" }), particle(2, { label: "a", name: "m" })] }), bits);
  store.select([1, 2]);
  assert.deepEqual([store.common("label"), store.common("name")], ["a", ""]);
  assert.deepEqual(store.classes(), ["a"]);
  store.select([]);
  assert.equal(store.common("label"), "");
});

test("a draft comes, changes what is being refined, and goes", () => {
  const store = filled(1), draft = { points: [[0, 0]], labels: [1], choice: 0, refines: 1, candidates: [{ box: [0, 0, 1, 1], buffer: 0 }] };
  assert.ok(store.apply(delta({ draft }), bits).refined);
  assert.deepEqual([...store.candidate.shape.bits], [1]);
  assert.ok(!store.apply(delta(), bits).refined, "nothing was said of the draft");
  assert.ok(store.draft);
  assert.ok(store.apply(delta({ draft: null }), bits).refined);
  assert.equal(store.candidate, undefined);
});

test("a trial of thresholds hides and shows", () => {
  const store = filled(1, 2, 3);
  store.applyKept({ of: [1, 2], kept: [2], removed: { area: 1 }, summary: { count: 2 } });
  assert.deepEqual(store.kept().map((p) => p.id), [2, 3], "3 is no proposal");
  assert.equal(store.summary.count, 2);
});
