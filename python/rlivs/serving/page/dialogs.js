// The three dialogs: a new stream, deleting one, the token.

import { call, setToken, streamPath } from "./api.js";
import { get } from "./elements.js";

export function addStream(onAdded) {
  const dialog = get("new-stream");
  const form = get("new-form");
  get("new-wrong").textContent = "";
  form.reset();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const name = get("new-name").value.trim();
    const source = get("new-source").value.trim();
    get("new-wrong").textContent = "";
    try {
      await call("POST", "api/streams", { name, resume: true, ...(source ? { source } : {}) });
      dialog.close();
      onAdded(name);
    } catch (error) {
      get("new-wrong").textContent = `Not added: ${error.message}.`;
    }
  };
  get("new-cancel").onclick = () => dialog.close();
  dialog.showModal();
}

export function removeStream(name, onRemoved) {
  const dialog = get("confirm");
  get("confirm-text").textContent = `"${name}" and everything remembered of it will be gone.`;
  dialog.returnValue = "no";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    await call("DELETE", streamPath(name));
    onRemoved();
  };
  dialog.showModal();
}

let asking = null;

// Resolves once a token was entered. `again`: the last one was refused.
export function askToken(again) {
  asking ??= new Promise((resolve) => {
    const dialog = get("token-dialog");
    get("token-wrong").textContent = again ? "That token was not taken." : "";
    get("token").value = "";
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => {
      setToken(get("token").value.trim());
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}
