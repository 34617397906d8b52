// Pages work without any of these scripts, which make them smoother.
import "./time.js";
import "./forms.js";
import "./keys.js";
import "./addresses.js";
import "./search.js";
import { start } from "./live.js";

// Remove the message from the URL, so that a reload does not show it again.
const here = new URL(location.href);
if (here.searchParams.has("m")) {
  here.searchParams.delete("m");
  history.replaceState(history.state, "", here);
}

if (document.body.hasAttribute("data-live")) start();
if (document.querySelector("main [data-passkey]")) import("./passkey.js");
if (document.getElementById("setup")) import("./setup.js");
