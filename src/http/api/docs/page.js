// Shows /openapi.json. Everything goes in as text, nothing as markup.
"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children.filter(Boolean));
  return made;
}

function styled(made, name) {
  made.className = name;
  return made;
}

function table(rows) {
  return element("table", "", ...rows.map((cells) => element("tr", "", ...cells.map((cell) => element("td", cell)))));
}

// A schema in the words of JSON: {"name": string, ...}
function shape(schema, schemas, seen = [], indent = "") {
  if (!schema) return "anything";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return seen.includes(name) ? name : shape(schemas[name], schemas, [...seen, name], indent);
  }
  for (const [key, word] of [["oneOf", " or "], ["anyOf", " or "], ["allOf", " and "]]) {
    if (schema[key]) return schema[key].map((part) => shape(part, schemas, seen, indent)).join(word);
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  const types = [].concat(schema.type ?? "anything");
  const words = types.map((type) => {
    if (type === "array") return `[${shape(schema.items, schemas, seen, indent)}, ...]`;
    if (type !== "object" || !schema.properties) return schema.format ? `${type} (${schema.format})` : type;
    const deeper = `${indent}  `;
    const required = schema.required ?? [];
    const lines = Object.entries(schema.properties).map(([name, part]) => {
      const optional = required.includes(name) ? "" : "?";
      const note = part.description ? `  // ${part.description.split("\n")[0]}` : "";
      return `${deeper}"${name}"${optional}: ${shape(part, schemas, seen, deeper)}${note}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  });
  return words.join(" or ");
}

function bodies(content, schemas) {
  return Object.entries(content ?? {})
    .filter(([kind]) => kind !== "application/problem+json")
    .map(([kind, { schema }]) => element("pre", `${kind}\n${shape(schema, schemas)}`));
}

function operation(path, method, about, schemas) {
  const responses = Object.entries(about.responses ?? {});
  return element("details", "",
    element("summary", "",
      styled(element("span", method.toUpperCase()), "method"),
      element("code", path),
      element("span", `  ${about.summary ?? ""} `),
      about.security ? styled(element("span", "open to all"), "open") : null),
    about.description ? element("p", about.description) : null,
    about.parameters ? element("h4", "Parameters") : null,
    about.parameters ? table(about.parameters.map((parameter) =>
      [parameter.name, parameter.in, parameter.required ? "required" : "", parameter.description ?? ""])) : null,
    about.requestBody ? element("h4", "Body") : null,
    ...bodies(about.requestBody?.content, schemas),
    element("h4", "Answers"),
    table(responses.map(([status, response]) => [status, response.description ?? ""])),
    ...responses.flatMap(([, response]) => bodies(response.content, schemas)));
}

function show(api) {
  const schemas = api.components?.schemas ?? {};
  const tags = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const tag = about.tags?.[0] ?? "other";
      tags.set(tag, [...(tags.get(tag) ?? []), operation(path, method, about, schemas)]);
    }
  }
  const sections = [...tags].flatMap(([tag, operations]) => [element("h2", tag), ...operations]);
  document.getElementById("document").replaceChildren(
    element("h1", `${api.info.title} ${api.info.version}`),
    element("p", api.info.description),
    element("p", "", element("span", "The document itself: "), Object.assign(element("a", "openapi.json"), { href: "/openapi.json" })),
    ...sections,
    element("h2", "refusals"),
    element("pre", `application/problem+json\n${shape({ $ref: "#/components/schemas/Problem" }, schemas)}`));
}

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(show)
  .catch((error) => document.getElementById("document").replaceChildren(element("p", `The document cannot be shown: ${error}`)));
