// Passkeys: the browser makes one or signs with one, and the form then sends what it gave. Forms for it are hidden without this script.
import { put } from "./dock.js";

const Key = window.PublicKeyCredential;

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!Key?.parseRequestOptionsFromJSON) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    const { ceremony, credential, login } = form.elements;
    if (credential.value || "ask" in form.dataset) return;
    event.preventDefault();
    const error = form.querySelector("[role=alert]");
    error.hidden = true;
    const create = form.dataset.passkey === "create";
    try {
      const path = !create ? "session/passkey" : login ? "session/factor/passkey" : "factors/passkeys";
      const response = await fetch("/api/v1/" + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(login?.value ? { login: login.value } : {}),
      });
      const said = await response.json();
      // The page asks for the password.
      if (create && !login && response.status === 403) form.dataset.ask = "";
      else if (!response.ok) throw new Error(said.detail);
      else {
        const publicKey = said.options.publicKey;
        const given = create
          ? await navigator.credentials.create({ publicKey: Key.parseCreationOptionsFromJSON(publicKey) })
          : await navigator.credentials.get({ publicKey: Key.parseRequestOptionsFromJSON(publicKey) });
        ceremony.value = said.ceremony ?? "";
        credential.value = JSON.stringify(given);
      }
      form.requestSubmit();
    } catch (problem) {
      const done = create ? "added" : "used";
      put(error, problem.name === "NotAllowedError" ? `No passkey was ${done}. Try again.` : problem.message);
      error.hidden = false;
    }
  });
}
