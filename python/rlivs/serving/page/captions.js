// Captions as they arrive, newest first.

import { element, get } from "./elements.js";
import { span } from "./words.js";

const SHOWN = 500;

export class Captions {
  constructor(onChoose) {
    this.list = get("captions");
    this.onChoose = onChoose;
  }

  clear() {
    this.list.replaceChildren();
    this.total = 0;
    get("no-captions").hidden = false;
    get("caption-count").textContent = "";
    get("heard").textContent = "";
  }

  // `fresh`: it came now, not with the stream's past.
  add(clip, fresh) {
    this.total += 1;
    const line = element("button", { type: "button", class: "line", onclick: () => this.onChoose(clip.index) },
      element("span", { class: "span" }, span(clip)),
      element("span", { dir: "auto" }, clip.text || "(no caption)"));
    this.put(element("li", { "data-clip": clip.index, class: fresh ? "new" : "" }, line));
    if (fresh) get("heard").textContent = `${span(clip)}: ${clip.text}`;
    get("no-captions").hidden = true;
    get("caption-count").textContent = this.total === 1 ? "1 clip" : `${this.total.toLocaleString("en")} clips`;
  }

  addGap(gap) {
    this.put(element("li", { class: "gap" }, `${span(gap)}  no pictures: ${gap.reason}`));
  }

  put(item) {
    // A reader who has scrolled down stays where he is.
    const before = this.list.scrollHeight;
    const reading = this.list.scrollTop > 0;
    this.list.prepend(item);
    while (this.list.children.length > SHOWN) this.list.lastElementChild.remove();
    if (reading) this.list.scrollTop += this.list.scrollHeight - before;
  }

  mark(index) {
    this.list.querySelectorAll("[aria-current]").forEach((each) => each.removeAttribute("aria-current"));
    if (index === null) return;
    const item = this.list.querySelector(`[data-clip="${Number(index)}"]`);
    if (!item) return;
    item.firstElementChild.setAttribute("aria-current", "true");
    // Scrolls the list alone: the picture stays in view.
    const room = this.list.getBoundingClientRect();
    const place = item.getBoundingClientRect();
    if (place.top < room.top || place.bottom > room.bottom) {
      this.list.scrollTop += place.top - room.top - (room.height - place.height) / 2;
    }
  }
}
