// Messages of scripts, docked at the bottom so that nothing moves. Text only.
const SHAPES = { ok: "check", warn: "clock", bad: "cross" };

/** Puts a text into an element: text between two backticks becomes code, as `words.rs` does in pages. */
export function put(element, text) {
  const parts = text.split("`");
  const last = parts.length - 1;
  element.replaceChildren(...parts.map((part, n) => {
    if (n % 2 === 0) return part;
    if (n === last) return "`" + part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  }));
}

/** Shows a message; `action` is the text of a button and what it does. */
export function say(tone, text, action) {
  const template = document.getElementById("message");
  if (!template) return;
  const message = template.content.firstElementChild.cloneNode(true);
  message.classList.add(tone);
  if (tone === "bad") message.setAttribute("role", "alert");
  message.querySelector("use").setAttribute("href", "#" + SHAPES[tone]);
  put(message.querySelector("p"), text);
  if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = action[0];
    button.addEventListener("click", () => action[1](message));
    message.querySelector("p").after(button);
  }
  message.querySelector(".close").addEventListener("click", () => message.remove());
  let dock = document.querySelector(".dock");
  if (!dock) {
    dock = document.createElement("div");
    dock.className = "dock";
    document.body.append(dock);
  }
  dock.append(message);
  return message;
}
