
// The menu of the right button.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Commands } from "../../particle_nb/widgets/js/commands.mjs";
import { commandOf } from "../../particle_nb/widgets/js/keys.mjs";
import { menuPlace, menuRows } from "../../particle_nb/widgets/js/menu.mjs";

const state = (more = {}) => ({ chosen: [], draft: null, hidden: false, locked: false, spot: { x: 3, y: 4 }, ...more });
const labels = (more) => menuRows(state(more)).filter(Boolean).map(([label]) => label);

test("it offers what can be done with what lies there", () => {
  assert.ok(labels().includes("Paste here") && !labels().some((l) => l.startsWith("Delete")));
  const one = labels({ chosen: [7] });
  assert.ok(one.includes("Delete particle 7") && one.includes("Refine") && !one.includes("Merge"));
  const two = labels({ chosen: [7, 8], hidden: true, locked: true });
  assert.ok(two.includes("Delete 2 particles") && two.includes("Merge") && !two.includes("Refine"));
  assert.ok(two.includes("Show") && two.includes("Unlock"));
  assert.ok(labels({ draft: {} }).includes("Commit the particle"));
});

test("every row is a command that there is, and its key does the same", () => {
  const all = [state({ chosen: [1], draft: {} }), state({ chosen: [1, 2] })].flatMap(menuRows).filter(Boolean);
  const names = { Esc: "Escape", Del: "Delete" };
  for (const [label, key, command, ...more] of all) {
    assert.equal(typeof Commands.prototype[command], "function", label);
    if (!key || key === "Alt+click") continue;
    const plain = key.replace("Ctrl+", ""), event = { key: names[plain] ?? plain, ctrlKey: key.startsWith("Ctrl+") };
    const [same, ...given] = commandOf(event);
    assert.equal(same, command, label);
    if (command !== "paste") assert.deepEqual(given, more, label);
  }
});

test("it stays inside", () => {
  assert.equal(menuPlace(50, 200, 800), 50);
  assert.equal(menuPlace(700, 200, 800), 598);
  assert.equal(menuPlace(10, 900, 800), 2);
});
