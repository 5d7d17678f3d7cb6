// Questions, answers as they stream in, and the clips they rest on.

import { events, streamPath } from "./api.js";
import { drawing, element, get } from "./elements.js";
import { duration, span, time } from "./words.js";

const KEPT = 30;

export class Answers {
  // onAnswer({first, whole}): seconds; onCited(indices); onChoose(index); reach() -> {start, end} of the stream.
  constructor({ onAnswer, onCited, onChoose, reach }) {
    Object.assign(this, { onAnswer, onCited, onChoose, reach });
    this.list = get("answers");
    this.stream = null;
    get("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
  }

  open(stream) {
    this.stream = stream;
    this.list.replaceChildren();
    this.stop?.abort();
    this.busy(false);
  }

  busy(yes) {
    get("ask").querySelector("button").disabled = yes;
    this.asking = yes;
  }

  async ask() {
    const field = get("question");
    const question = field.value.trim();
    if (!question || !this.stream || this.asking) return;
    this.busy(true);
    const source = document.querySelector('input[name="answer_from"]:checked').value;
    const facts = element("p", { class: "facts" }, "Asking");
    const reply = element("p", { class: "reply", dir: "auto" });
    const card = element("li", { class: "answer coming" },
      element("h3", { dir: "auto" }, question), reply, facts);
    this.list.prepend(card);
    while (this.list.children.length > KEPT) this.list.lastElementChild.remove();
    const stop = new AbortController();
    this.stop = stop;
    const began = performance.now();
    const since = () => (performance.now() - began) / 1000;
    let first = null;
    let finished = false;
    try {
      const body = { question, answer_from: source, stream: true };
      for await (const { event, data } of events("POST", streamPath(this.stream, "/questions"), { body, signal: stop.signal })) {
        if (event === "text") {
          first ??= since();
          reply.append(data.text);
        } else if (event === "answer") {
          finished = true;
          first ??= since();
          this.finish(card, reply, facts, data, since());
          this.onAnswer({ first, whole: since() });
        } else if (event === "error") {
          throw new Error(data.error.message);
        }
      }
      if (!finished) throw new Error("the answer broke off; ask again");
      field.value = "";
    } catch (error) {
      if (stop.signal.aborted && this.stop !== stop) return;
      card.classList.add("failed");
      reply.textContent = error instanceof TypeError || error.name === "AbortError" || error.name === "NetworkError"
        ? "The connection was lost; ask again." : sentence(error.message);
      facts.remove();
      get("said").textContent = reply.textContent;
    } finally {
      card.classList.remove("coming");
      if (this.stop === stop) this.busy(false);
    }
  }

  finish(card, reply, facts, answer, seconds) {
    reply.textContent = answer.text || "(no answer)";
    facts.textContent = `Asked at ${time(answer.at)}, answered in ${duration(seconds)}`;
    get("said").textContent = `Answer: ${answer.text}`;
    const cited = answer.citations;
    if (!cited.length) {
      card.append(element("p", { class: "none" }, "From no caption."));
      this.onCited([]);
      return;
    }
    card.append(this.evidence(cited));
    const details = element("details", cited.length <= 4 ? { open: "" } : {},
      element("summary", {}, `From ${cited.length} caption${cited.length > 1 ? "s" : ""}`),
      element("ol", { class: "citations" }, ...cited.map((clip) => element("li", {},
        element("button", { type: "button", class: "line", "data-cited": clip.index,
          onclick: () => { this.onCited(cited.map((each) => each.index)); this.onChoose(clip.index); } },
        element("span", { class: "span" }, span(clip)), element("span", { dir: "auto" }, clip.text))))));
    card.append(details);
    this.onCited(cited.map((clip) => clip.index));
  }

  evidence(cited) {
    const { start, end } = this.reach();
    const length = Math.max(end - start, 1e-9);
    const share = (value) => `${(100 * value) / length}%`;
    return drawing("svg", { class: "evidence", width: "100%", height: 10, "aria-hidden": "true" },
      drawing("rect", { class: "all", y: 3, width: "100%", height: 4, rx: 2 }),
      ...cited.map((clip) => drawing("rect", {
        class: "part", x: share(clip.start - start), width: share(clip.end - clip.start), y: 1, height: 8,
      })));
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
