"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const blocks = all("#timeline .block");
  const blockOf = new Map(blocks.map((block) => [block.dataset.clip, block]));

  all(".needs-script").forEach((element) => { element.hidden = false; });

  // One switch for all clips.
  all("#all-views input").forEach((choice) => {
    choice.addEventListener("change", () => {
      all(`.viewer .views input[value="${choice.value}"]`).forEach((radio) => { radio.checked = true; });
    });
  });

  // Marking what an answer rests on: while the pointer or the focus is on it,
  // and after a click until another answer is clicked or Escape is pressed.
  const answers = all(".answer");
  let pinned = null;

  const mark = (answer) => {
    all(".marked").forEach((element) => element.classList.remove("marked"));
    if (!answer) return;
    all("[data-clip]", answer).forEach((link) => {
      blockOf.get(link.dataset.clip)?.classList.add("marked");
      document.getElementById(`clip-${link.dataset.clip}`)?.classList.add("marked");
    });
  };

  const pin = (answer) => {
    pinned = answer;
    mark(answer);
  };

  answers.forEach((answer) => {
    answer.addEventListener("mouseenter", () => mark(answer));
    answer.addEventListener("mouseleave", () => mark(pinned));
    answer.addEventListener("focusin", () => mark(answer));
    answer.addEventListener("focusout", () => mark(pinned));
    answer.addEventListener("click", () => pin(answer));
  });

  // A look at a clip from its block.
  const preview = document.getElementById("preview");

  const show = (block) => {
    const clip = document.getElementById(`clip-${block.dataset.clip}`);
    const photos = all(".photo", clip);
    const text = document.createElement("div");
    const when = document.createElement("b");
    when.textContent = clip.querySelector(".when a").textContent;
    text.append(when, clip.querySelector("h3").textContent);
    preview.replaceChildren(text);
    if (photos.length) preview.prepend(photos[Math.floor(photos.length / 2)].cloneNode());
    preview.hidden = false;
    const room = preview.parentElement.getBoundingClientRect();
    const box = block.getBoundingClientRect();
    const left = box.left + box.width / 2 - room.left - preview.offsetWidth / 2;
    preview.style.left = `${Math.max(16, Math.min(left, room.width - preview.offsetWidth - 16))}px`;
  };

  const hide = () => { if (preview) preview.hidden = true; };

  // One tab stop for the whole timeline; arrows, Home and End go from clip to clip.
  const walk = (from, key) => {
    const last = blocks.length - 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[key];
    return to === undefined ? null : blocks[Math.max(0, Math.min(last, to))];
  };

  const stop = (block) => {
    blocks.forEach((other) => other.setAttribute("tabindex", other === block ? "0" : "-1"));
  };

  blocks.forEach((block, index) => {
    block.addEventListener("mouseenter", () => show(block));
    block.addEventListener("mouseleave", hide);
    block.addEventListener("focus", () => { stop(block); if (block.matches(":focus-visible")) show(block); });
    block.addEventListener("blur", hide);
    block.addEventListener("click", hide);
    block.addEventListener("keydown", (event) => {
      const next = walk(index, event.key);
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
  });
  if (blocks.length) stop(blocks[0]);

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    hide();
    pin(null);
  });

  // The clip being read, on the timeline.
  if (blocks.length && "IntersectionObserver" in window) {
    const watcher = new IntersectionObserver((entries) => {
      entries.forEach((entry) => {
        blockOf.get(entry.target.id.slice("clip-".length))?.classList.toggle("here", entry.isIntersecting);
      });
    }, { rootMargin: "-35% 0px -60% 0px" });
    all(".clip").forEach((clip) => watcher.observe(clip));
  }
})();
