// The newest picture, or that of a clip, with the tokens its caption attended to most.

import { call, streamPath } from "./api.js";
import { drawing, get } from "./elements.js";
import { span, time } from "./words.js";

const PAUSE = 700;

export class Picture {
  constructor() {
    this.stream = null;
    this.clip = null;
    this.round = 0;
    document.querySelectorAll('input[name="view"]').forEach((choice) => {
      choice.addEventListener("change", () => (this.clip === null ? this.again() : this.showOverlay()));
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.again(); });
  }

  open(stream) {
    this.stream = stream;
    this.clip = null;
    this.clear();
    this.again();
  }

  // Look at a clip, or with null at what comes now.
  look(clip) {
    this.clip = clip;
    get("stage").classList.toggle("past", clip !== null);
    get("back").hidden = clip === null;
    this.again();
  }

  clear() {
    get("photo").hidden = true;
    this.drawn = false;
    this.showOverlay();
    get("waiting").hidden = false;
    get("waiting").textContent = "Waiting for the first picture";
    get("count").textContent = "";
    get("stage").classList.remove("past");
    get("back").hidden = true;
  }

  again() {
    this.round += 1;
    clearTimeout(this.timer);
    this.refresh(this.round);
  }

  async refresh(round) {
    const { stream, clip } = this;
    if (!stream || document.hidden) return;
    try {
      const picture = await call("GET", streamPath(stream, `/picture?${this.wanted(clip)}`));
      if (round !== this.round) return;
      this.show(picture, clip);
      if (clip !== null) return;
    } catch (error) {
      if (round !== this.round) return;
      if (clip !== null && error.status === 404) {
        this.lost(clip);
        return;
      }
    }
    this.timer = setTimeout(() => this.refresh(round), PAUSE);
  }

  wanted(clip) {
    if (clip !== null) return `clip=${clip.index}`;
    return view() === "newest" ? "newest=true" : "";
  }

  show(picture, clip) {
    const photo = get("photo");
    photo.width = picture.width;
    photo.height = picture.height;
    photo.src = picture.image;
    photo.parentElement.style.setProperty("--ratio", picture.width / picture.height);
    const overlay = picture.overlay;
    const at = clip === null ? time(picture.time) : span(clip);
    photo.alt = overlay ? `Frame at ${at}, ${overlay.kept} tokens selected` : `Frame at ${at}`;
    photo.hidden = false;
    get("waiting").hidden = true;
    this.drawn = Boolean(overlay);
    if (overlay) {
      const kept = get("kept");
      kept.setAttribute("viewBox", `0 0 ${overlay.cols} ${overlay.rows}`);
      kept.replaceChildren(
        drawing("path", { class: "shade", "fill-rule": "evenodd", d: overlay.surroundings }),
        drawing("path", { class: "under", d: overlay.outline }),
        drawing("path", { class: "edge", d: overlay.outline }),
      );
      get("heat").src = overlay.heat;
      get("low").textContent = overlay.low;
      get("high").textContent = overlay.high;
    }
    this.showOverlay();
    const tokens = overlay ? `${overlay.kept} of ${overlay.rows * overlay.cols} tokens kept` : "";
    get("count").textContent = [at, tokens].filter(Boolean).join(", ");
  }

  lost(clip) {
    get("photo").hidden = true;
    this.showOverlay();
    get("waiting").hidden = false;
    get("waiting").textContent = "The picture of this clip is no longer kept; its caption is.";
    get("count").textContent = span(clip);
  }

  showOverlay() {
    const drawn = this.drawn && !get("photo").hidden;
    get("stage").classList.toggle("scored", drawn && view() === "scores");
    get("kept").toggleAttribute("hidden", !drawn || view() === "newest");
    get("heat").hidden = !drawn || view() !== "scores";
    get("scale").hidden = get("heat").hidden;
  }
}

const view = () => document.querySelector('input[name="view"]:checked').value;
