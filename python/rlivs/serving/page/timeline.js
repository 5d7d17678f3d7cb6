// The stream as a line of clips: one tab stop, arrows from clip to clip, Enter to look at one.

import { drawing, get } from "./elements.js";
import { freshness, midnight, span, time } from "./words.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];

export class Timeline {
  constructor(onChoose) {
    this.root = get("timeline");
    this.onChoose = onChoose;
    this.root.addEventListener("click", (event) => this.choose(event.target.closest(".block")));
    this.root.addEventListener("keydown", (event) => this.walk(event));
    this.clear();
  }

  clear() {
    this.clips = [];
    this.gaps = [];
    this.known = new Set();
    this.cited = new Set();
    this.here = null;
    this.stop = null;
    this.schedule();
  }

  add(clip) {
    const level = Math.min(3, Math.floor(freshness(clip.text, this.known) * 4));
    this.clips.push({ ...clip, level });
    this.schedule();
  }

  addGap(gap) {
    this.gaps.push(gap);
    get("key-gap").hidden = false;
    this.schedule();
  }

  mark(here, cited) {
    this.here = here;
    this.cited = new Set(cited);
    get("key-cited").hidden = !this.cited.size;
    this.schedule();
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = requestAnimationFrame(() => {
      this.scheduled = null;
      this.draw();
    });
  }

  draw() {
    const focused = document.activeElement?.closest?.("#timeline .block")?.dataset.clip;
    const all = [...this.clips, ...this.gaps];
    const start = all.length ? Math.min(...all.map((each) => each.start)) : 0;
    const end = all.length ? Math.max(...all.map((each) => each.end)) : 0;
    const length = Math.max(end - start, 1e-9);
    const x = (moment) => `${(100 * (moment - start)) / length}%`;
    const width = (each) => `${(100 * (each.end - each.start)) / length}%`;
    this.root.classList.toggle("dense", this.clips.length > 120);
    // The tab stop is the newest clip until the reader has gone to another.
    const known = this.clips.some((clip) => clip.index === this.stop);
    const stop = known ? this.stop : this.clips[this.clips.length - 1]?.index;
    const blocks = this.clips.map((clip) => {
      const block = drawing("g", {
        class: `block level-${clip.level}${clip.index === this.here ? " here" : ""}${this.cited.has(clip.index) ? " cited" : ""}`,
        role: "button", tabindex: clip.index === stop ? "0" : "-1", "data-clip": clip.index,
        "aria-label": `${span(clip)}: ${clip.text}`,
        "aria-pressed": String(clip.index === this.here),
      });
      const at = { x: x(clip.start), width: width(clip) };
      block.append(
        drawing("rect", { class: "reach", ...at, y: 4, height: 40 }),
        drawing("rect", { class: "body", ...at, y: 11, height: 28, rx: 3 }),
        drawing("rect", { class: "here-mark", ...at, y: 41, height: 2 }),
      );
      return block;
    });
    const gaps = this.gaps.map((gap) => drawing("line", {
      class: "gap-mark", x1: x(gap.start), x2: x(gap.end), y1: 25, y2: 25,
    }));
    this.root.replaceChildren(...gaps, ...blocks, ...this.ticks(start, end, x));
    if (focused !== undefined) this.root.querySelector(`[data-clip="${Number(focused)}"]`)?.focus();
  }

  ticks(start, end, x) {
    if (end <= start) return [];
    const room = Math.max(3, Math.floor(this.root.clientWidth / 80));
    const step = STEPS.find((each) => (end - start) / each <= room) || Math.ceil((end - start) / room);
    const ticks = [];
    const zero = midnight();
    for (let at = zero + Math.ceil((start - zero) / step - 1e-9) * step, order = 0; at <= end + 1e-6; at += step, order += 1) {
      const near = (at - start) / (end - start);
      const side = near < 0.04 ? "first" : near > 0.96 ? "last" : "";
      const text = drawing("text", { y: 16, class: side }, time(at));
      ticks.push(drawing("svg", {
        class: order % 2 ? "tick minor" : "tick", x: x(at), y: 44, "aria-hidden": "true",
      }, drawing("path", { d: "M0 0v4" }), text));
    }
    return ticks;
  }

  choose(block) {
    if (!block) return;
    this.stop = Number(block.dataset.clip);
    this.onChoose(this.stop);
  }

  walk(event) {
    const block = event.target.closest(".block");
    if (!block) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choose(block);
      return;
    }
    const from = this.clips.findIndex((clip) => clip.index === Number(block.dataset.clip));
    const last = this.clips.length - 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.stop = this.clips[Math.max(0, Math.min(last, to))].index;
    this.draw();
    this.root.querySelector(`[data-clip="${this.stop}"]`).focus();
  }
}
