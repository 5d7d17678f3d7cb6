// One stream at a time: its picture, timeline, captions, questions and meters, through losses of the connection.

import { Answers } from "./answers.js";
import { call, events, Refused, streamPath } from "./api.js";
import { Captions } from "./captions.js";
import { addStream, askToken, removeStream } from "./dialogs.js";
import { get, element } from "./elements.js";
import { Picture } from "./picture.js";
import { Timeline } from "./timeline.js";
import { duration, number, setClock, size } from "./words.js";

const LOOK_AGAIN = 2000;
const LONGEST_PAUSE = 5000;

let chosen = null;
let following = null;
let instance = null;
let tokenTried = false;
const clips = new Map();

const picture = new Picture();
const captions = new Captions(choose);
const timeline = new Timeline(choose);
const answers = new Answers({
  onAnswer: ({ first, whole }) => {
    get("meter-first").textContent = duration(first);
    get("meter-answer").textContent = duration(whole);
  },
  onCited: (indices) => timeline.mark(picture.clip?.index ?? null, indices),
  onChoose: choose,
  reach: () => {
    const all = [...clips.values()];
    return { start: Math.min(...all.map((clip) => clip.start)), end: Math.max(...all.map((clip) => clip.end)) };
  },
});

function choose(index) {
  const clip = index === null ? null : clips.get(index) ?? null;
  picture.look(clip);
  captions.mark(clip?.index ?? null);
  timeline.mark(clip?.index ?? null, timeline.cited);
  // On a narrow screen the picture is above what was touched.
  if (clip && get("stage").getBoundingClientRect().bottom < 0) get("stage").scrollIntoView({ block: "start" });
}

get("back").addEventListener("click", () => choose(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && picture.clip && !document.querySelector("dialog[open]")) choose(null);
});
window.addEventListener("resize", () => timeline.schedule());

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

// The list of streams, the state and meters of the chosen one.
async function lookRound() {
  for (;;) {
    try {
      const { streams } = await call("GET", "api/streams");
      trouble("");
      tokenTried = false;
      showStreams(streams);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        await askToken(tokenTried);
        tokenTried = true;
        continue;
      }
      trouble(error instanceof Refused ? error.message : "The server does not answer. Trying again …");
    }
    await pause(document.hidden ? 4 * LOOK_AGAIN : LOOK_AGAIN);
  }
}

function trouble(text) {
  if (get("trouble").textContent !== text) get("trouble").textContent = text;
}

function showStreams(streams) {
  const names = streams.map((each) => each.stream);
  get("empty").hidden = names.length > 0;
  get("live").hidden = names.length === 0;
  get("choice").hidden = names.length === 0;
  get("remove").hidden = names.length === 0;
  const select = get("streams");
  if (names.join("\n") !== [...select.options].map((each) => each.value).join("\n")) {
    select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  }
  if (!names.includes(chosen)) {
    const wanted = new URLSearchParams(location.search).get("stream");
    open(names.includes(wanted) ? wanted : names[0] ?? null);
  }
  select.value = chosen ?? "";
  const status = streams.find((each) => each.stream === chosen);
  if (status) showStatus(status);
}

function showStatus(status) {
  const bad = ["failed", "reconnecting"].includes(status.state);
  get("state").className = `state ${bad ? "bad" : status.state === "running" ? "good" : ""}`;
  const words = [status.state, shortly(status.source)].filter(Boolean).join(", ");
  const text = status.last_error ? `${words}: ${status.last_error}` : words;
  const place = get("state").lastElementChild;
  if (place.textContent !== text) place.textContent = text;
  get("meter-lag").textContent = duration(status.lag_s);
  get("meter-speed").textContent = status.tokens_per_s ? number(Math.round(status.tokens_per_s)) : "–";
  get("meter-memory").textContent = size(status.memory_bytes);
  get("meter-dropped").textContent = number(status.frames_dropped);
}

// A file by its name: where it lies on the server is no news to anyone here.
const shortly = (source) => (source.includes("://") ? source : source.split(/[\\/]/).pop());

function open(name) {
  following?.abort();
  chosen = name;
  forget();
  picture.open(name);
  answers.open(name);
  ["meter-first", "meter-answer"].forEach((id) => { get(id).textContent = "–"; });
  const address = new URL(location.href);
  if (name === null) address.searchParams.delete("stream");
  else address.searchParams.set("stream", name);
  history.replaceState(null, "", address);
  document.title = name ? `${name}, rLiVS live` : "rLiVS live";
  if (name === null) return;
  following = new AbortController();
  follow(name, following.signal);
}

function forget() {
  clips.clear();
  setClock(null);
  captions.clear();
  timeline.clear();
  get("key-gap").hidden = true;
  get("key-cited").hidden = true;
}

// The stream's events; after a loss they are taken up where they broke off.
async function follow(name, signal) {
  let after = -1;
  let wait = 500;
  let past = true;
  while (!signal.aborted) {
    try {
      for await (const { event, data, id } of events("GET", streamPath(name, `/events?after=${after}`), { signal })) {
        wait = 500;
        if (event === "hello") {
          // A server that was started again counts anew; what is shown already is known by its clip.
          if (instance !== null && instance !== data.instance && after !== -1) {
            instance = data.instance;
            after = -1;
            break;
          }
          instance = data.instance;
          past = true;
          setTimeout(() => { past = false; }, 1500);
          continue;
        }
        if (id !== null) after = Number(id);
        take(event, data, !past);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 404) return; // the list of streams will say so
    }
    await pause(wait);
    wait = Math.min(2 * wait, LONGEST_PAUSE);
  }
}

function take(event, data, fresh) {
  setClock(data);
  if (event === "caption" && !clips.has(data.index)) {
    clips.set(data.index, data);
    captions.add(data, fresh);
    timeline.add(data);
  } else if (event === "gap") {
    captions.addGap(data);
    timeline.addGap(data);
  }
}

get("streams").addEventListener("change", (event) => open(event.target.value));
const added = (name) => { open(name); };
get("add").addEventListener("click", () => addStream(added));
get("add-first").addEventListener("click", () => addStream(added));
get("remove").addEventListener("click", () => removeStream(chosen, () => open(null)));

lookRound();
