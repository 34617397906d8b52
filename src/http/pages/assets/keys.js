// Keys: `/` search, `?` help, `g` and a letter for places, `j` and `k` in lists. Not in a field, not with Ctrl, Alt or Meta.
const on = document.documentElement.dataset.keys !== "off";
let going = 0;

const press = (selector) => document.querySelector(selector)?.click();

function row(step) {
  const links = Array.from(document.querySelectorAll("main tbody tr :is(a, button):first-of-type, main .attention b a"));
  const rows = links.filter((link, place) => place === 0 || link.closest("tr, li") !== links[place - 1].closest("tr, li"));
  const now = document.activeElement.closest("main tr, main li");
  const at = rows.findIndex((link) => now && link.closest("tr, li") === now);
  const next = at < 0 ? (step > 0 ? 0 : -1) : at + step;
  rows.at(next < 0 && at === 0 ? 0 : Math.min(next, rows.length - 1))?.focus();
}

function go(key) {
  going = 0;
  const place = Array.from(document.querySelectorAll("[data-go]")).find((link) => link.dataset.go === key);
  if (place) location.assign(place.href);
}

const does = {
  "/": () => document.getElementById("q")?.select(),
  "?": () => document.getElementById("keys")?.showModal(),
  g: () => { going = Date.now(); },
  j: () => row(1),
  k: () => row(-1),
  u: () => document.activeElement.closest("tr, li")?.querySelector("[data-u]")?.click(),
  n: () => press('a[rel="next"]'),
  p: () => press('a[rel="prev"]'),
  ".": () => press(".new button"),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.querySelector("details.menu[open]");
    menu?.removeAttribute("open");
    menu?.querySelector("summary").focus();
  }
  if (!on || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || event.isComposing) return;
  if (event.target.closest("input, textarea, select, [contenteditable], dialog")) return;
  if (going && Date.now() - going < 2_000) {
    event.preventDefault();
    return go(event.key);
  }
  going = 0;
  const act = does[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
