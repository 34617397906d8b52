// The setup: takes the code from the link's fragment, rates the password and says why, and can show it.
const code = document.getElementById("code");
const password = document.getElementById("password");
const strength = document.getElementById("strength");
const reveal = document.getElementById("reveal");

const carried = new URLSearchParams(location.hash.slice(1)).get("code");
if (carried) {
  code.value = carried;
  document.getElementById("came").hidden = false;
  history.replaceState(history.state, "", location.pathname);
  password.focus();
}

/** The strength from 0 to 4, and a sentence. */
function judge(text) {
  // As the server counts them (`password/rules.rs`): characters, after NFC.
  const missing = 12 - [...text.normalize("NFC")].length;
  if (missing > 0) return [0, `Too short. ${missing} more to go.`];
  const kinds = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^a-zA-Z0-9]/].filter((kind) => kind.test(text)).length;
  const letters = new Set(text.toLowerCase()).size;
  const words = text.split(/[\s._-]+/).filter((word) => word.length > 2).length;
  if (letters < 5) return [1, "Weak. The same few letters are tried first."];
  if (/^[a-zA-Z]+[^a-zA-Z]*(19|20)?\d{0,4}[^a-zA-Z]*$/.test(text) && text.length < 16) {
    return [2, "Weak. A word and a number are tried first. Three or four unrelated words are better."];
  }
  if (words >= 4 || text.length >= 20) return [4, "Strong."];
  if (words >= 3 || text.length >= 14 || kinds >= 3) return [3, "Good."];
  return [2, "Weak. Three or four unrelated words are better."];
}

strength.hidden = false;
password.addEventListener("input", () => {
  const [value, sentence] = judge(password.value);
  strength.querySelector("meter").value = value;
  strength.querySelector("p").textContent = password.value ? sentence : "";
  strength.querySelector("p").className = value < 3 ? "warn" : "ok";
});

reveal.hidden = false;
reveal.querySelector("input").addEventListener("change", (event) => {
  password.type = event.target.checked ? "text" : "password";
});
