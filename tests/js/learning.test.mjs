
// What the Learn button says.
import assert from "node:assert/strict";
import { test } from "node:test";

import { learnText } from "../../particle_nb/widgets/js/learning.mjs";

const run = { state: "running", doing: "learning", before: 0.5, now: 0.625, kept: false, used: false, notes: [], error: "" };

test("a run says what it does, what it gained, and what came out", () => {
  assert.match(learnText(null), /Correct all particles/);
  assert.match(learnText({ state: "none", answers: "Old weights answer." }), /^Old weights answer\. Correct all particles/);
  assert.match(learnText({ ...run, answers: "Old weights answer." }), /^Old weights answer\. learning …/);
  assert.equal(learnText({ ...run, before: null }), "learning …");
  assert.match(learnText(run), /0\.50 → 0\.63/);
  assert.match(learnText({ ...run, state: "done", kept: true, notes: ["few masks"] }), /use them\?.*few masks/);
  assert.match(learnText({ ...run, state: "done" }), /the old weights stay/);
  assert.match(learnText({ ...run, state: "done", kept: true, used: true }), /are in use/);
  assert.match(learnText({ ...run, state: "failed", error: "too few" }), /too few/);
});
