// The Learn button: a run in the background of the kernel, its progress, and what came out of it.

import { element, textButton } from "./elements.mjs";

/** What is said of a run; before the first one, what the button does. */
export function learnText(run) {
  if (run?.answers) return `${run.answers} ${learnText({ ...run, answers: "" })}`;
  if (!run || run.state === "none") return "Correct all particles of the image, then learn from them. Clicks go on being answered meanwhile.";
  const { state, doing, before, now, kept, used, notes, error, images } = run;
  const scores = before != null && now != null ? ` F1 of held-out particles ${before.toFixed(2)} → ${now.toFixed(2)}.` : "";
  if (state === "failed") return `Nothing was learned: ${error}`;
  const from = images > 1 ? ` From ${images} images.` : "";
  if (state === "running") return `${doing} …${from}${scores}`;
  const end = used ? "The new weights are in use." : kept ? "The new weights are better; use them?" : "No gain: the old weights stay.";
  return [`${end}${scores}`, ...notes].join(" ");
}

export class Learning {
  constructor({ link, notices }) {
    this.run = null;
    this.notices = notices;
    const ask = (step) => () => link.request("learn", { step, minutes: Number(this.minutes.value) || 5 });
    this.minutes = element("input", {
      type: "number", class: "pnb-input pnb-minutes", value: 5, min: 1, max: 120, "aria-label": "Minutes to learn",
    });
    this.start = textButton("learn", "Tune the segmenter to the particles of this image", ask("start"));
    this.stop = textButton("stop", "End the learning early; nothing is lost", ask("stop"));
    this.use = textButton("use the new weights", "Prompts and proposals come from them from here on", ask("use"));
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Progress of learning" });
    this.text = element("p", { class: "pnb-empty", role: "status" });
    this.nodes = [this.text, this.bar,
      element("div", { class: "pnb-edit-row" }, this.minutes, element("span", { class: "pnb-by" }, "min"), this.start, this.stop, this.use)];
    this.show();
  }

  receive(run) {
    if (run.answers && run.answers !== this.run?.answers) this.notices.say(run.answers);
    this.run = run;
    this.show();
  }

  show() {
    const { run } = this, running = run?.state === "running";
    this.text.textContent = learnText(run);
    this.bar.value = run?.share ?? 0;
    this.bar.hidden = this.stop.hidden = !running;
    this.start.hidden = this.minutes.hidden = running;
    this.minutes.nextSibling.hidden = running;
    this.use.hidden = !run?.kept || run.used;
  }
}
