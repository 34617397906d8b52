// Pages are complete without any of this: what follows makes them smoother.
import "./time.js";
import "./forms.js";
import "./keys.js";
import "./search.js";
import { start } from "./live.js";

// The address of a page is without the message that it shows: a reload does not show it again.
const here = new URL(location.href);
if (here.searchParams.has("m")) {
  here.searchParams.delete("m");
  history.replaceState(history.state, "", here);
}

if (document.body.hasAttribute("data-live")) start();
if (document.getElementById("setup")) import("./setup.js");
