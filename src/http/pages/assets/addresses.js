// Checks a list of addresses while it is typed or pasted, as the server would.
const V4 = /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/;
const shown = (number) => number.toLocaleString("en");

// A word in one spelling, and why the server would refuse it.
const judge = (word) => {
  const [text, length, more] = word.split("/");
  let [address, most, least] = [text, 32, 8];
  if (!V4.test(text)) {
    try {
      [address, most, least] = [new URL(`http://[${text}]`).host, 128, 16];
    } catch {
      address = "";
    }
  }
  const bits = length ?? most;
  if (!address || more !== undefined) return ["", "is not an address"];
  if (!/^\d+$/.test(bits) || bits > most) return ["", `is not a network: after the slash is a number up to ${most}`];
  return [address + "/" + bits, bits < least && "is so large that it contains ordinary users"];
};

for (const field of document.querySelectorAll("textarea[data-addresses]")) {
  const most = Number(field.dataset.addresses);
  const says = field.parentElement.appendChild(document.createElement("p"));
  says.className = "hint";
  says.setAttribute("role", "status");
  let timer;
  const check = () => {
    const good = new Set();
    const bad = [];
    let twice = 0;
    const lines = field.value.split("\n");
    lines.forEach((line, at) => {
      for (const word of line.match(/[^\s,;]+/g) ?? []) {
        // The last word is not complete while it is typed.
        const typing = at + 1 === lines.length && line.endsWith(word) && field.selectionEnd === field.value.length;
        const [address, why] = judge(word);
        if (good.has(address)) twice += 1;
        if (address) good.add(address);
        if (why && !typing) bad.push(`Line ${at + 1}: ${word.slice(0, 40)} ${why}.`);
      }
    });
    const many = good.size > most ? `At most ${shown(most)} at once: send them in parts.` : "";
    const count = shown(good.size) + (good.size === 1 ? " address" : " addresses") + (twice ? `, ${twice} more than once.` : ".");
    const rest = bad.length > 3 ? `And ${shown(bad.length - 3)} more.` : "";
    const all = [count, many, ...bad.slice(0, 3), rest].filter(Boolean);
    const text = good.size || bad.length ? all.join(" ") : "";
    if (says.textContent !== text) says.textContent = text;
    field.setCustomValidity(many);
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 200);
  });
  if (field.value && !field.ariaInvalid) check();
}
