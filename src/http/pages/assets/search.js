// Suggestions below the search while the user types: a combobox with a list box. Enter without a choice sends the form.
const input = document.getElementById("q");
const MAX = 7;
let list = null;
let chosen = -1;
let typed = 0;
let request = null;

function close() {
  list?.remove();
  list = null;
  chosen = -1;
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
}

function choose(place) {
  const items = list ? Array.from(list.children) : [];
  if (!items.length) return;
  chosen = (place + items.length + 1) % (items.length + 1);
  items.forEach((item, at) => item.setAttribute("aria-selected", String(at === chosen)));
  if (items[chosen]) input.setAttribute("aria-activedescendant", items[chosen].id);
  else input.removeAttribute("aria-activedescendant");
}

function shape(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("class", "m");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", "#" + name);
  svg.append(use);
  return svg;
}

function show(items) {
  close();
  if (!items.length) return;
  list = document.createElement("ul");
  list.id = "suggestions";
  list.className = "suggestions float";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Suggestions");
  items.slice(0, MAX).forEach((item, at) => {
    const line = document.createElement("li");
    line.id = "suggestion-" + at;
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", "false");
    line.dataset.href = item.href;
    const text = document.createElement("span");
    text.textContent = item.text;
    line.append(shape(item.mark), text);
    if (item.count) {
      const count = document.createElement("span");
      count.className = "end";
      count.textContent = item.count;
      line.append(count);
    }
    // On mousedown: before the field loses the focus, which closes the list.
    line.addEventListener("mousedown", (event) => {
      event.preventDefault();
      location.assign(item.href);
    });
    list.append(line);
  });
  input.after(list);
  input.setAttribute("aria-expanded", "true");
}

async function ask() {
  const words = input.value.trim();
  request?.abort();
  if (!words) return close();
  request = new AbortController();
  try {
    const answer = await fetch("/suggestions?q=" + encodeURIComponent(words), {
      headers: { accept: "application/json" },
      signal: request.signal,
    });
    if (answer.ok && document.activeElement === input) show((await answer.json()).items);
  } catch {
    // Overtaken by the next letter, or no answer: the form itself still works.
  }
}

if (input) {
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", "suggestions");
  input.setAttribute("aria-expanded", "false");
  input.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(ask, 120);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen < 0 ? -2 : chosen - 1);
    else if (event.key === "Escape" && list) close();
    else if (event.key === "Enter" && list?.children[chosen]) location.assign(list.children[chosen].dataset.href);
    else return;
    event.preventDefault();
  });
}
