// Forms, sent without leaving the page: errors come beside their fields, an ended session and a lost answer keep what was typed.
// A form with `data-plain` is left to the browser.
import { ended } from "./session.js";
import { put, say } from "./dock.js";

const DISABLED = '[aria-disabled="true"]';

document.addEventListener("submit", (event) => {
  const form = event.target;
  const button = event.submitter;
  if (button?.matches(DISABLED)) return event.preventDefault();
  if (event.defaultPrevented || form.getAttribute("method") !== "post" || "plain" in form.dataset) return;
  event.preventDefault();
  send(form, button);
});

async function send(form, button) {
  if (form.hasAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  button?.setAttribute("aria-disabled", "true");
  let whole = false;
  clear(form);
  try {
    const response = await fetch(button?.getAttribute("formaction") ?? form.getAttribute("action"), {
      method: "POST",
      body: new URLSearchParams(new FormData(form, button)),
      headers: { "x-bangui-form": "1", accept: "application/json" },
    });
    if (response.status === 401) ended(() => button?.focus());
    else {
      const said = await response.json();
      whole = said.whole === true;
      if (!whole) answer(form, said);
    }
  } catch {
    say("bad", "No answer came. Whether this was done is not known: check before you try again. What you typed is kept.");
  }
  form.removeAttribute("aria-busy");
  button?.removeAttribute("aria-disabled");
  if (whole) {
    // Nothing was done: the next page says what is missing.
    form.dataset.plain = "";
    form.requestSubmit(button);
  }
}

function answer(form, said) {
  if (said.to) return go(said.to);
  if (!said.errors) {
    const detail = said.detail ?? "";
    return say("bad", said.title + ". " + detail.charAt(0).toUpperCase() + detail.slice(1) + (/[.?:]$/.test(detail) ? "" : "."));
  }
  let first = null;
  for (const [name, sentence] of Object.entries(said.errors)) {
    const field = name && form.elements.namedItem(name);
    const place = field && document.getElementById(field.id + "-error");
    if (!field || !place) {
      say("bad", sentence);
      continue;
    }
    put(place.querySelector("span") ?? place, sentence);
    place.hidden = false;
    field.setAttribute("aria-invalid", "true");
    const described = (field.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== place.id);
    field.setAttribute("aria-describedby", [place.id, ...described].join(" "));
    first ??= field;
  }
  first?.focus();
}

function clear(form) {
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll("p.error")) place.hidden = true;
}

/** Goes to a page of bangui. */
function go(to) {
  const url = new URL(to, location.href);
  if (url.origin !== location.origin) return;
  // From now on, nothing else may make this page leave or reload.
  document.body.setAttribute("data-leaving", "");
  location.assign(url);
}

document.addEventListener("click", (event) => {
  const close = event.target.closest("[data-close]");
  const keep = event.target.closest("[data-keep]");
  if (close) close.closest(".message").remove();
  if (keep) keep.closest("details").removeAttribute("open");
  if (close || keep) event.preventDefault();
  // The menu closes when the user clicks elsewhere.
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.removeAttribute("open");
  }
});

// Only one confirmation is open at a time, and the focus goes to its harmless choice.
document.addEventListener("toggle", (event) => {
  const details = event.target;
  if (!details.matches?.("details.confirm") || !details.open) return;
  for (const other of document.querySelectorAll("details.confirm[open]")) if (other !== details) other.removeAttribute("open");
}, true);

// Focus the first field with an error.
document.querySelector("[aria-invalid]")?.focus();
