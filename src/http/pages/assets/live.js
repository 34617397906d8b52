// Keeps the page up to date: one event stream, and requests for the same page, of which only texts and attributes are used.
//
// An event, or ten seconds, requests the page's parts (`x-bangui-live`), at most once a second, however many events there are. All
// changes are written in one frame. Rows never move: new ones are counted in a bar. Every event is also dispatched in the page as
// `bangui:event`, for pages that do more with it. A hidden page closes its stream: browsers allow only six connections to a host.
import { ended } from "./session.js";
import { say } from "./dock.js";

const KINDS = [
  "server.came_online", "server.went_offline", "server.degraded", "server.added", "server.removed", "recovery.pending",
  "recovery.resolved", "recovery.cleared", "activation.recorded", "ban.added", "ban.removed", "settings.changed",
  "scheduler.elected",
];
const EVERY = 10_000;
const MIN_INTERVAL = 1_000;
const STALE_AFTER = 15_000;
const MOVED_AFTER = 3;

let stream = null;
let good = Date.now();
let asked = 0;
let waiting = 0;
let running = false;
let elsewhere = 0;
let moved = false;
let over = false;
let fresh = 0;
let typed = false;

/** Starts the updates. */
export function start() {
  connect();
  setInterval(tick, 1_000);
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : resume()));
  addEventListener("input", () => (typed = true));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (event) => {
    document.body.removeAttribute("data-leaving");
    if (event.persisted) resume();
  });
}

/** Reconnects after a login in place, or when the page is visible again. */
export function resume() {
  over = false;
  connect();
  refresh();
}

function connect() {
  if (stream || over || document.hidden) return;
  const opened = new EventSource("/api/v1/events");
  stream = opened;
  opened.addEventListener("open", mark);
  opened.addEventListener("error", () => {
    // Closed for good: the answer was not a stream. The next request for the page shows why.
    if (opened.readyState === EventSource.CLOSED && stream === opened) {
      stream = null;
      refresh();
      setTimeout(connect, 3_000 + Math.random() * 4_000);
    }
    mark();
  });
  for (const kind of KINDS) {
    opened.addEventListener(kind, (event) => {
      document.dispatchEvent(new CustomEvent("bangui:event", { detail: JSON.parse(event.data) }));
      refresh();
    });
  }
  opened.addEventListener("gap", refresh);
  opened.addEventListener("end", refresh);
}

function disconnect() {
  stream?.close();
  stream = null;
}

const isChanging = () => document.getElementById("changing")?.textContent === "yes";

function tick() {
  // During a change, ask more often, so that its steps are shown as they happen.
  const soon = isChanging() || document.querySelector("form[aria-busy]");
  if (!document.hidden && Date.now() - asked >= (soon ? MIN_INTERVAL : EVERY)) refresh();
  mark();
}

/** Requests the parts of this page soon. */
export function refresh() {
  if (running || waiting || over || document.hidden) {
    fresh += running ? 1 : 0;
    return;
  }
  const wait = Math.max(0, asked + MIN_INTERVAL - Date.now());
  waiting = setTimeout(look, wait);
}

async function look() {
  waiting = 0;
  running = true;
  fresh = 0;
  asked = Date.now();
  try {
    const address = location.pathname + location.search;
    const answer = await fetch(address, {
      headers: { "x-bangui-live": "1", accept: "application/json" },
      redirect: "manual",
      signal: AbortSignal.timeout(STALE_AFTER),
    });
    if (answer.status === 401) {
      over = true;
      disconnect();
      ended();
    } else if (answer.ok && answer.headers.get("content-type")?.startsWith("application/json")) {
      const page = await answer.json();
      good = Date.now();
      requestAnimationFrame(() => patch(page));
    }
  } catch {
    // No answer: the mark says how old the page is.
  }
  running = false;
  mark();
  if (fresh) refresh();
}

function patch({ assets, parts, rows }) {
  const wasChanging = isChanging();
  for (const element of document.querySelectorAll("[data-k]")) {
    const key = element.getAttribute("data-k");
    // Inside a row it may continue the row's.
    const part = parts[key[0] === "." ? element.closest("[data-row]")?.getAttribute("data-row") + key : key];
    if (!part) continue;
    const [text, attributes] = part;
    if (element.childElementCount === 0 && element.textContent !== text) element.textContent = text;
    for (const name in attributes) {
      if (element.getAttribute(name) !== attributes[name]) element.setAttribute(name, attributes[name]);
    }
  }
  const known = new Set(Array.from(document.querySelectorAll("[data-row]"), (row) => row.getAttribute("data-row")));
  count(rows.filter((row) => !known.has(row)).length);
  document.dispatchEvent(new CustomEvent("bangui:patched"));
  if (wasChanging && !isChanging()) settled();
  // During an update, workers of both versions answer: it is over when several answers in a row come from the other version.
  elsewhere = assets === document.documentElement.dataset.assets ? 0 : elsewhere + 1;
  if (elsewhere && elsewhere < MOVED_AFTER) refresh();
  if (elsewhere === MOVED_AFTER && !moved) {
    moved = true;
    say("warn", "The workers have moved to another version. What you typed stays until you reload.", ["Reload", () => location.reload()]);
  }
}

// A change has ended, and the buttons are outdated. In the browser that made it, the answer to the form leads to the next page.
function settled() {
  if (document.querySelector("form[aria-busy], [data-leaving]")) return;
  if (typed) say("warn", "A change has ended. What you typed stays until you reload.", ["Reload", () => location.reload()]);
  else location.reload();
}

function count(number) {
  let bar = document.querySelector(".new");
  if (!number) return bar?.remove();
  if (!bar) {
    const list = document.querySelector("[data-row]")?.closest("table, ul, ol");
    if (!list) return;
    bar = document.createElement("p");
    bar.className = "new";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "primary";
    button.addEventListener("click", () => location.reload());
    bar.append(button);
    list.before(bar);
  }
  bar.firstElementChild.textContent = number + " new";
}

function mark() {
  const place = document.getElementById("live");
  if (!place) return;
  const age = Date.now() - good;
  let [shape, word, colour] = ["dot", "Live", "muted"];
  if (over) [shape, word, colour] = ["bar", "Not live", "muted"];
  else if (age >= STALE_AFTER) [shape, word, colour] = ["triangle", Math.floor(age / 1_000) + " s old", "warn"];
  else if (stream?.readyState !== EventSource.OPEN) [shape, word, colour] = ["dotted", "Reconnecting", "warn"];
  const svg = place.querySelector("svg");
  const text = place.querySelector("span");
  if (text.textContent !== word) text.textContent = word;
  place.querySelector("use").setAttribute("href", "#" + shape);
  svg.classList.toggle("ok", word === "Live");
  place.className = "live " + colour;
}
