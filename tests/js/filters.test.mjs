// Thresholds and their sliders.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as g from "../../particle_nb/widgets/js/filters.mjs";

test("a threshold moves alone, and the two ends of the area never cross", () => {
  const all = { min_area: null, max_area: null, min_predicted_iou: 0.5, nested: "keep" };
  assert.deepEqual(g.withThreshold(all, "min_predicted_iou", 0.7), { ...all, min_predicted_iou: 0.7 });
  assert.deepEqual(all.min_predicted_iou, 0.5, "what it was given is not changed");
  const ends = { ...all, min_area: 20, max_area: 50 };
  assert.equal(g.withThreshold(ends, "min_area", 80).min_area, 50);
  assert.equal(g.withThreshold(ends, "max_area", 5).max_area, 20);
  assert.equal(g.withThreshold(ends, "max_area", null).max_area, null);
  assert.equal(g.withThreshold({ ...ends, max_area: null }, "min_area", 80).min_area, 80);
});

test("a slider gives back the threshold that it was set to, and off at its end", () => {
  const top = Math.log1p(70_000);
  for (const area of [1, 2, 30, 999, 40_000]) assert.equal(g.sliderToThreshold(g.thresholdToSlider(area, top, true, "low"), top, true, "low"), area);
  for (const share of [0.01, 0.35, 0.88, 0.97]) {
    assert.equal(g.sliderToThreshold(g.thresholdToSlider(share, 1, false, "low"), 1, false, "low"), share);
    assert.equal(g.sliderToThreshold(g.thresholdToSlider(share, 1, false, "high"), 1, false, "high"), share);
  }
  assert.equal(g.thresholdToSlider(null, top, true, "low"), 0);
  assert.equal(g.thresholdToSlider(null, top, true, "high"), top);
  assert.equal(g.sliderToThreshold(0, top, true, "low"), null);
  assert.equal(g.sliderToThreshold(top, top, true, "high"), null);
  assert.equal(g.sliderToThreshold(1, 1, false, "low"), 1, "the other end is a threshold");
});

test("thresholds read as pixels, as shares, or as off", () => {
  assert.deepEqual([g.thresholdText(null, true, 1), g.thresholdText(251, true, 1), g.thresholdText(0.5, false, 0.01), g.thresholdText(0.05, false, 0.005)], ["off", "251", "0.50", "0.050"]);
});

test("one trial is in flight; what the slider passed meanwhile is left out; letting go is one action", () => {
  const said = [], off = { min_area: null, max_area: null, min_stability: null };
  const link = { request: (kind, { settings }) => said.push([kind, settings.min_stability]), act: ({ action, settings }) => said.push([action, settings.min_stability, "act"]) };
  const store = { settings: { ...off } }, trial = new g.FilterTrial({ store, link, changed: () => {} });
  for (const value of [0.1, 0.2, 0.3]) trial.change("min_stability", value, false);
  assert.deepEqual(said, [["filter", 0.1]]);
  assert.equal(trial.settings.min_stability, 0.3);
  trial.answered();
  assert.deepEqual(said.pop(), ["filter", 0.3]);
  trial.change("min_stability", 0.4, true);
  assert.deepEqual(said.pop(), ["filter", 0.4, "act"]);
  store.settings = { ...off, min_stability: 0.4 };
  trial.settle();
  assert.equal(trial.trying, null);
  // back where it was: the kernel shows what holds, and nothing is done
  trial.change("min_stability", 0.5, false);
  trial.change("min_stability", 0.4, true);
  assert.deepEqual(said.pop(), ["filter", 0.4]);
  assert.equal(trial.trying, null);
});

test("keys that follow one another are one action, when they rest or something else is done", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const acts = [], store = { settings: { min_stability: null, min_area: null, max_area: null } };
  const link = { request: () => {}, act: ({ settings }) => acts.push(settings.min_stability) };
  const trial = new g.FilterTrial({ store, link, changed: () => {} });
  const key = (value) => { trial.change("min_stability", value, false); trial.rest(); };
  for (const value of [0.1, 0.2, 0.3]) {
    key(value);
    t.mock.timers.tick(600);
  }
  assert.deepEqual(acts, []);
  trial.settle(); // something else made the kernel say its thresholds
  assert.equal(trial.settings.min_stability, 0.3, "what is not done yet is kept");
  t.mock.timers.tick(100);
  assert.deepEqual(acts, [0.3]);
  key(0.4);
  trial.flush();
  t.mock.timers.tick(5000);
  assert.deepEqual(acts, [0.3, 0.4]);
  key(0.5);
  trial.change("min_stability", 0.6, true);
  t.mock.timers.tick(5000);
  assert.deepEqual(acts, [0.3, 0.4, 0.6]);
  key(0.7);
  trial.giveUp();
  t.mock.timers.tick(5000);
  assert.equal(acts.length, 3);
});
