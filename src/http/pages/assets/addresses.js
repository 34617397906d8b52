// Checks a list of addresses while it is typed or pasted, as the server would.
const WORD = /[^\s,;]+/g;
const V4 = /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/;
const NAMED = 3;

// An IPv6 address in one spelling.
const six = (text) => {
  try {
    return /^[\da-f:.]+$/i.test(text) && new URL(`http://[${text}]`).host;
  } catch {}
};

// A word in one spelling, and why the server would refuse it.
const judge = (word) => {
  const [text, length, more] = word.split("/");
  const [address, most, least] = V4.test(text) ? [text, 32, 8] : [six(text), 128, 16];
  if (!address || more !== undefined) return ["", "is not an address"];
  const bits = length ?? most;
  if (!/^\d{1,3}$/.test(bits) || bits > most) return ["", `is not a network: after the slash is a number up to ${most}`];
  return [address + "/" + bits, bits < least && "is so large that it contains ordinary users"];
};
const counted = (number, what) => number.toLocaleString("en") + " " + what + (number === 1 ? "" : "es");

for (const field of document.querySelectorAll("textarea[data-addresses]")) {
  const most = Number(field.dataset.addresses);
  const says = field.parentElement.appendChild(document.createElement("p"));
  says.className = "hint";
  says.setAttribute("role", "status");
  let timer;
  const check = () => {
    const good = new Set();
    const bad = [];
    let wrong = 0;
    let twice = 0;
    field.value.split("\n").forEach((line, at, lines) => {
      for (const word of line.match(WORD) ?? []) {
        // The last word is not complete while it is typed.
        const typing = at === lines.length - 1 && line.endsWith(word) && field.selectionEnd === field.value.length;
        const [address, why] = judge(word);
        if (good.has(address)) twice += 1;
        if (address) good.add(address);
        if (why && !typing && (wrong += 1) <= NAMED) bad.push(`Line ${at + 1}: ${word.slice(0, 40)} ${why}.`);
      }
    });
    const many = good.size > most ? ` At most ${most.toLocaleString("en")} at once: send them in parts.` : "";
    const rest = wrong > NAMED ? ` And ${(wrong - NAMED).toLocaleString("en")} more.` : "";
    const again = twice ? `, ${twice} more than once` : "";
    const text = good.size || wrong ? counted(good.size, "address") + again + "." + many + " " + bad.join(" ") + rest : "";
    if (says.textContent !== text) says.textContent = text;
    field.setCustomValidity(many.trim());
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 200);
  });
  if (field.value && !field.ariaInvalid) check();
}
