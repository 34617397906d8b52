// A session that ended while the page was open: the page says so in place, keeps what was typed, and continues after a new
// login.
import { put, say } from "./dock.js";

const dialog = document.getElementById("session-ended");
let after = [];

/** Asks for a login in place; `then` is called after it. */
export function ended(then) {
  if (!dialog) return location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
  if (then) after.push(then);
  if (!dialog.open) dialog.showModal();
}

dialog?.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const error = document.getElementById("ended-error");
  const password = form.elements.namedItem("password");
  let answer = {};
  try {
    const response = await fetch("/login", {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "x-bangui-form": "1", accept: "application/json" },
    });
    answer = await response.json();
  } catch {
    answer = { detail: "No answer came. Try again." };
  }
  password.value = "";
  if (!answer.to) {
    const factor = answer.whole && "Your account needs a second factor: open another tab and log in there, close this with Escape, and send again.";
    put(error, factor || (Object.values(answer.errors ?? {})[0] ?? answer.detail ?? "The login was refused."));
    error.hidden = false;
    password.focus();
    return;
  }
  error.hidden = true;
  dialog.close();
  say("ok", "Logged in again. Nothing was sent yet.");
  (await import("./live.js")).resume();
  for (const then of after.splice(0)) then();
});
