// Starts Swagger UI in the system's theme, and gives its elements what a screen reader or a keyboard needs and it leaves out.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

/** What the elements that a selector finds lack. */
const LACKS = [
  ["h3.opblock-tag, .models > h4", "aria-level", "2"],
  [".opblock h4", "aria-level", "3"],
  [".opblock h5", "aria-level", "4"],
  ["textarea.body-param__text", "aria-label", "Body of the request"],
  ["pre.example, .highlight-code pre, .opblock table.parameters, .opblock table.responses-table", "tabindex", "0"],
];
const complete = () => {
  for (const [selector, name, value] of LACKS) {
    for (const element of document.querySelectorAll(`#swagger-ui ${selector.replaceAll(", ", ", #swagger-ui ")}`)) {
      if (element.getAttribute(name) !== value) element.setAttribute(name, value);
    }
  }
  for (const table of document.querySelectorAll("#swagger-ui table[role=region]")) table.removeAttribute("role");
};
new MutationObserver(complete).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });

window.ui = SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "/openapi.json",
  // With it each operation is a button with a link inside, which no keyboard reaches.
  deepLinking: false,
  tryItOutEnabled: true,
  // It would be another party's site.
  validatorUrl: "none",
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
});
