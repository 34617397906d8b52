// Checks a list of addresses while it is typed or pasted: how many there are, and which lines are not addresses. The server has the last word.
const WORD = /[^\s,;]+/g;
const V4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(\/\d{1,2})?$/;
const V6 = /^[\da-f:.]*:[\da-f:.]*(\/\d{1,3})?$/i;
const NAMED = 3;

const isAddress = (word) => {
  const four = V4.exec(word);
  return four ? four.slice(1, 5).every((part) => part < 256) : V6.test(word);
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
    field.value.split("\n").forEach((line, at, lines) => {
      for (const word of line.match(WORD) ?? []) {
        // The last word is not complete while it is typed.
        const typing = at === lines.length - 1 && line.endsWith(word) && field.selectionEnd === field.value.length;
        if (isAddress(word)) good.add(word);
        else if (!typing && (wrong += 1) <= NAMED) bad.push(`Line ${at + 1}: ${word.slice(0, 40)} is not an address.`);
      }
    });
    const many = good.size > most ? ` At most ${most.toLocaleString("en")} at once: send them in parts.` : "";
    const rest = wrong > NAMED ? ` And ${(wrong - NAMED).toLocaleString("en")} more.` : "";
    const text = good.size || wrong ? counted(good.size, "address") + "." + many + " " + bad.join(" ") + rest : "";
    if (says.textContent !== text) says.textContent = text;
    field.setCustomValidity(many.trim());
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 200);
  });
  if (field.value) check();
}
