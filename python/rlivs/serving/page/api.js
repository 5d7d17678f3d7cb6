// Requests to the server, with its token where it wants one, and event streams over fetch:
// EventSource could send neither the token nor a question.

const KEY = "rlivs-token";

// `#token=…` in the address never reaches the server; it is kept for this tab and taken out of sight.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const setToken = (token) => sessionStorage.setItem(KEY, token);

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function send(method, path, { body, signal, headers = {} } = {}) {
  const token = sessionStorage.getItem(KEY);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method, signal, headers, cache: "no-store",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch { /* an answer that is not the server's own */ }
  throw new Refused(response.status, message);
}

export async function call(method, path, body) {
  const response = await send(method, path, { body, signal: AbortSignal.timeout(15000) });
  return response.status === 204 ? null : response.json();
}

export const streamPath = (name, rest = "") => `api/streams/${encodeURIComponent(name)}${rest}`;

// The events of a response as they come: {event, data, id}. Ends when the server ends it; throws when the connection
// breaks, or is silent for longer than the server's own heartbeats.
export async function* events(method, path, { body, signal, silence = 45000 } = {}) {
  const stop = new AbortController();
  const abort = () => stop.abort();
  if (signal) signal.addEventListener("abort", abort, { once: true });
  let timer = setTimeout(abort, silence);
  try {
    const response = await send(method, path, { body, signal: stop.signal, headers: { Accept: "text/event-stream" } });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(abort, silence);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const item = { event: "message", data: "", id: null };
        for (const line of block.split("\n")) {
          const at = line.indexOf(": ");
          if (at > 0) item[line.slice(0, at)] = line.slice(at + 2);
        }
        if (item.data) yield { ...item, data: JSON.parse(item.data) };
      }
    }
  } finally {
    clearTimeout(timer);
    if (signal) signal.removeEventListener("abort", abort);
    stop.abort();
  }
}
