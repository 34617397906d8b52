// A session that ended while the page was open: the page says so in place, keeps what was typed, and continues after a new
// login, which may need a second factor.
import { put, say } from "./dock.js";

const dialog = document.getElementById("session-ended");
const [first, second, passkey] = dialog?.querySelectorAll("form") ?? [];
let after = [];

/** Asks for a login in place; `then` is called after it. */
export function ended(then) {
  if (!dialog) return location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
  if (then) after.push(then);
  if (!dialog.open) dialog.showModal();
}

/** Shows the form for the password, or those for the second factor of this login. */
function step(login, passkeys) {
  first.hidden = !!login;
  second.hidden = !login;
  passkey.parentNode.hidden = !passkeys;
  second.elements.login.value = passkey.elements.login.value = login;
  if (passkeys) import("./passkey.js");
}

dialog?.addEventListener("submit", async (event) => {
  if (event.defaultPrevented || event.target.method === "dialog") return;
  event.preventDefault();
  let form = event.target;
  let answer;
  try {
    const response = await fetch(form.getAttribute("action"), {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "x-bangui-form": "1", accept: "application/json" },
    });
    answer = await response.json();
  } catch {
    answer = { detail: "No answer came. Try again." };
  }
  for (const field of form.elements) if (!/name|login/.test(field.name)) field.value = "";
  const { to, login, whole, errors = {} } = answer;
  let said = Object.values(errors)[0] ?? answer.detail ?? "The login was refused.";
  if (whole) said = "Set up a second factor: open another tab and log in there, close this, and send again.";
  if (login) {
    step(login, answer.passkeys);
    form = second;
  } else if (to) {
    step("");
    form = first;
    said = "That login has ended. Log in again.";
  }
  const error = form.querySelector(".error");
  const done = to && !to.startsWith("/login");
  put(error, said);
  error.hidden = !!(login || done);
  if (!done) return form.querySelector("[required], button").focus();
  dialog.close();
  say("ok", "Logged in again. Nothing was done yet.");
  (await import("./live.js")).resume();
  for (const then of after.splice(0)) then();
});
