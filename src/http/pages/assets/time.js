// Shows times in the browser's zone, which the server learns through a cookie for the next page; and lets countdowns tick.
const page = document.documentElement;
const skew = Date.now() - Number(page.dataset.now);
const two = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function zone(at = new Date()) {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(at);
  const name = parts.find((part) => part.type === "timeZoneName")?.value ?? "local";
  return [-at.getTimezoneOffset(), name];
}

const day = (at) => `${at.getDate()} ${MONTHS[at.getMonth()]}`;
const minute = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;

function short(at) {
  const now = new Date();
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
  const days = Math.round((midnight(now) - midnight(at)) / 86_400_000);
  if (days === 0) return minute(at);
  if (days === 1) return "yesterday " + minute(at);
  if (days === -1) return "tomorrow " + minute(at);
  if (at.getFullYear() === now.getFullYear()) return `${day(at)} ${minute(at)}`;
  return `${day(at)} ${at.getFullYear()}`;
}

/** The remaining time, as `clock.rs` writes it. */
export function remaining(seconds) {
  const [minutes, hours, days] = [60, 3_600, 86_400].map((unit) => Math.floor(seconds / unit));
  if (seconds < 60) return "0:" + two(seconds);
  if (seconds < 3_600) return `${minutes} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${hours} h ${minutes % 60} min`;
  return `${days} d ${hours % 24} h`;
}

function local() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const seconds = `${minute(at)}:${two(at.getSeconds())}`;
    time.title = `${day(at)} ${at.getFullYear()}, ${seconds} ${zone(at)[1]}`;
    if (time.dataset.form === "exact") time.textContent = seconds;
    else if (!time.dataset.form) time.textContent = short(at);
  }
}

const [offset, name] = zone();
const mine = `${offset}:${name}`;
if (page.dataset.zone !== mine) {
  document.cookie = `bangui-zone=${mine}; Path=/; SameSite=Lax; Max-Age=31536000`;
  const foot = document.querySelector(".foot span");
  if (foot) foot.textContent = "Times in " + name;
  local();
  document.addEventListener("bangui:patched", local);
}

function tick() {
  const now = Date.now() - skew;
  for (const time of document.querySelectorAll('time[data-form="left"]')) {
    const left = Math.ceil((new Date(time.dateTime) - now) / 1_000);
    const text = left > 0 ? remaining(left) : "0:00";
    if (time.textContent !== text) time.textContent = text;
    // The time for an undo is over.
    if (left <= 0) time.closest(".message form, form[action='/undo']")?.remove();
  }
  for (const button of document.querySelectorAll("[data-after]")) {
    button.dataset.label ??= button.textContent;
    const left = Math.ceil((Number(button.dataset.after) - now) / 1_000);
    button.textContent = left > 0 ? `${button.dataset.label}, possible in ${remaining(left)}` : button.dataset.label;
    if (left > 0) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}

tick();
setInterval(tick, 1_000);
document.addEventListener("visibilitychange", () => document.hidden || tick());
