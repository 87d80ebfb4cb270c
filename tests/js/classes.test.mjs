
// The palette of classes, and how predictions reach the particles.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/classes.mjs";
import { ordered, readQuery, valueOf } from "../../particle_nb/widgets/js/listing.mjs";
import { Store } from "../../particle_nb/widgets/js/store.mjs";

const bits = [Uint8Array.from([0x80])];
const particle = (id, label = "") => ({
  id, label, box: [id, 0, id + 1, 1], buffer: 0, kept: true, visible: true, area: 1, centre: [0, id], name: "", note: "",
});
const delta = (upserts, more = {}) => ({ seq: 1, full: false, upserts, removes: [], history: { position: 1, length: 1 }, ...more });

test("predictions stay with their particles, and labels win over them", () => {
  const store = new Store();
  store.applyClasses({ names: ["rod", "disc"], told: [[2, 1, 0.9], [3, -1, null]], status: "", waiting: 0 });
  store.apply(delta([particle(1, "rod"), particle(2), particle(3)], { full: true, columns: [] }), bits);
  const seen = () => [...store.particles.values()].map((p) => [p.label, p.guess, p.chance]);
  assert.deepEqual(seen(), [["rod", "", null], ["", "disc", 0.9], ["", "unknown", null]]);
  store.apply(delta([{ ...particle(2), name: "x" }]), bits);
  assert.deepEqual(seen()[1], ["", "disc", 0.9], "another name is no other prediction");
  store.apply(delta([particle(2, "rod")]), bits);
  assert.deepEqual(seen()[1], ["rod", "", null]);
  assert.deepEqual(store.classes(), ["rod", "disc"], "in the order of their keys");
  const counts = g.classCounts(store.kept(), store.names);
  assert.deepEqual([...counts], [["rod", [2, 0]], ["disc", [0, 0]], ["unknown", [0, 1]]]);
  store.applyClasses({ waiting: 7 });
  assert.deepEqual([store.names.length, store.told.size, store.classing.waiting], [2, 2, 7]);
  store.applyClasses({ names: [], told: [], status: "none", waiting: 0 });
  assert.deepEqual(seen()[2], ["", "", null]);
});

test("the list sorts and filters by class, also a predicted one, and by its probability", () => {
  const some = [
    { ...particle(1, "rod"), guess: "", chance: null },
    { ...particle(2), guess: "disc", chance: 0.6 },
    { ...particle(3), guess: "disc", chance: 0.9 },
    { ...particle(4), guess: "unknown", chance: null },
  ];
  const left = (text) => some.filter(readQuery(text, []).test).map((p) => p.id);
  assert.deepEqual(left("class = disc"), [2, 3]);
  assert.deepEqual(left("disc probability < 0.7"), [2]);
  assert.deepEqual(left("class = rod"), [1]);
  assert.equal(valueOf(some[0], "probability", []), 1, "a label is certain");
  assert.deepEqual(ordered(some, "probability", false, []).map((p) => p.id), [2, 3, 1, 4]);
});

test("a class is renamed in its place, and never to another's name or to nothing", () => {
  assert.deepEqual(g.renamed(["a", "b"], 1, " c "), ["a", "c"]);
  assert.deepEqual(g.renamed(["a", "b"], 1, "b"), ["a", "b"]);
  assert.equal(g.renamed(["a", "b"], 1, "a"), null);
  assert.equal(g.renamed(["a", "b"], 1, "  "), null);
});

test("while numbers are worked out the palette says how far that is", () => {
  assert.match(g.classStatus({ status: "x", waiting: 12 }), /12 to go/);
  assert.equal(g.classStatus({ status: "x", waiting: 0 }), "x");
});
