
// What each key does.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Commands } from "../../particle_nb/widgets/js/commands.mjs";
import * as g from "../../particle_nb/widgets/js/keys.mjs";

const press = (key, more = {}) => g.commandOf({ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...more });

test("every tool has its letter, in both cases, and no command takes it", () => {
  for (const [name, , letter] of g.TOOLS) {
    assert.deepEqual(press(letter), ["take", name]);
    assert.deepEqual(press(letter.toLowerCase()), ["take", name]);
    assert.ok(!(letter.toLowerCase() in g.COMMANDS), letter);
  }
  assert.equal(new Set(g.TOOLS.map(([, , letter]) => letter)).size, g.TOOLS.length);
});

test("every key means a command that there is", () => {
  const events = [
    ...Object.keys(g.COMMANDS).map((key) => press(key)),
    ...["ArrowLeft", "ArrowUp"].flatMap((key) => [press(key), press(key, { altKey: true })]),
    press("ContextMenu"),
    ...["z", "y", "s", "a", "c", "v", "d"].map((key) => press(key, { ctrlKey: true })),
    press("k"),
  ];
  for (const [name] of events) assert.equal(typeof Commands.prototype[name], "function", name);
});

test("with Control or Command, with Shift, with Alt", () => {
  for (const held of [{ ctrlKey: true }, { metaKey: true }]) {
    assert.deepEqual(press("z", held), ["undo"]);
    assert.deepEqual(press("Z", { ...held, shiftKey: true }), ["redo"]);
    assert.deepEqual(press("y", held), ["redo"]);
    assert.deepEqual(["c", "v", "d"].map((key) => press(key, held)[0]), ["copy", "paste", "duplicate"]);
    assert.equal(press("k", held), null);
    assert.equal(press("ArrowLeft", held), null);
  }
  assert.deepEqual(press("ArrowLeft"), ["moveCross", -1, 0, 8]);
  assert.deepEqual(press("ArrowDown", { shiftKey: true }), ["moveCross", 0, 1, 1]);
  assert.deepEqual(press("ArrowRight", { altKey: true }), ["pan", -60, -0]);
  assert.deepEqual(press("F10", { shiftKey: true }), ["menu"]);
  assert.deepEqual(press("ContextMenu"), ["menu"]);
  assert.equal(press("F10"), null);
  assert.deepEqual(press("Delete"), ["onSelected", "delete"]);
  assert.deepEqual(press(" "), ["hold", true]);
  assert.deepEqual([press("1"), press("9"), press("%")], [["classify", 1], ["classify", 9], ["oneToOne"]]);
  for (const key of ["F5", "Shift", "F7", "F9"]) assert.equal(press(key), null, key);
});

test("the list of keys names every key", () => {
  const words = new Set(g.KEYS.flatMap(([keys]) => keys.replaceAll("·", " ").split(" ")));
  const shown = { delete: "Del", escape: "Esc", enter: "Enter", backspace: "Backspace", " ": "Space", "-": "−", "=": "+" };
  for (const key of Object.keys(g.COMMANDS)) assert.ok(words.has(shown[key] ?? key.toUpperCase()), key);
  for (const [, , letter] of g.TOOLS) assert.ok(words.has(letter), letter);
});
