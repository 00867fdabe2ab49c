"""A page that shows every operation and lets one try it. All of it comes from here: no other host is asked."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

router = APIRouter(include_in_schema=False)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sipsvc API</title>
<link rel="stylesheet" href="/docs/page.css">
</head>
<body>
<header>
<h1>sipsvc API</h1>
<p id="about"></p>
<label>Token <input id="token" type="password" autocomplete="off" placeholder="as sipsvc serve printed it"></label>
</header>
<main id="operations">Loading <a href="/openapi.json">/openapi.json</a> …</main>
<script src="/docs/page.js"></script>
</body>
</html>
"""

CSS = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h1 { margin: 0; }
h2 { margin: 2rem 0 .5rem; text-transform: capitalize; }
details { border: 1px solid #cfd6e0; border-radius: 6px; margin: .5rem 0; padding: .5rem .8rem; }
summary { cursor: pointer; }
code, pre, textarea, input { font: 14px/1.4 ui-monospace, monospace; }
.method { display: inline-block; min-width: 3.5rem; font-weight: 700; color: #0b5cad; }
.said { color: #5a6675; margin-left: .8rem; }
label { display: block; margin: .5rem 0; }
label small { color: #5a6675; margin-left: .5rem; }
input, textarea { display: block; width: 100%; box-sizing: border-box; padding: .3rem .5rem; }
textarea { min-height: 8rem; }
pre { background: #f3f5f8; border-radius: 6px; padding: .7rem; overflow: auto; max-height: 30rem; }
button { font: inherit; padding: .3rem 1.2rem; margin: .5rem 0; cursor: pointer; }
"""

SCRIPT = """
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
let document_ = {};

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  Object.assign(made, attributes || {});
  made.append(...children);
  return made;
}

function resolve(schema) {
  const steps = [];
  while (schema && schema.$ref && steps.length < 20) {
    steps.push(schema.$ref);
    schema = schema.$ref.split("/").slice(1).reduce((at, key) => (at || {})[key], document_);
  }
  return schema || {};
}

function exampleOf(schema, depth) {
  const found = resolve(schema);
  if (depth > 8) return null;
  if (found.examples && found.examples.length) return found.examples[0];
  if ("default" in found) return found.default;
  if (found.anyOf && found.anyOf.length) return exampleOf(found.anyOf[0], depth + 1);
  if (found.type === "array") return [exampleOf(found.items, depth + 1)];
  if (found.type === "object") {
    const made = {};
    for (const [key, inner] of Object.entries(found.properties || {})) made[key] = exampleOf(inner, depth + 1);
    return made;
  }
  return { string: "", integer: 0, number: 0, boolean: false }[found.type] ?? null;
}

function typeOf(schema) {
  const found = resolve(schema);
  const kinds = (found.anyOf || [found]).map(resolve).filter((kind) => kind.type !== "null");
  return kinds.map((kind) => (kind.enum ? kind.enum.join(" or ") : kind.const || kind.type || "any")).join(" or ");
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

function field(parameter) {
  const input = element("input", { name: parameter.name, placeholder: parameter.required ? "required" : "" });
  const words = [typeOf(parameter.schema), parameter.description].filter(Boolean).join(". ");
  const label = element("label", {}, element("code", {}, parameter.name), element("small", {}, words), input);
  return { parameter, input, label };
}

async function send(path, method, fields, body, out) {
  let url = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const { parameter, input } of fields) {
    if (parameter.in === "header" && input.value !== "") headers[parameter.name] = input.value;
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (parameter.in === "query" && input.value !== "") query.append(parameter.name, input.value);
  }
  if (query.size) url += `?${query}`;
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  out.textContent = `${method.toUpperCase()} ${url} …`;
  try {
    const answer = await fetch(url, { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
    const said = await answer.text();
    let shown = said;
    try { shown = pretty(JSON.parse(said)); } catch (error) { shown = said; }
    const told = ["ETag", "Location", "Idempotent-Replayed"].filter((name) => answer.headers.has(name));
    const lines = told.map((name) => `${name}: ${answer.headers.get(name)}\\n`).join("");
    out.textContent = `${method.toUpperCase()} ${url}\\n${answer.status} ${answer.statusText}\\n${lines}\\n${shown}`;
  } catch (error) {
    out.textContent = String(error);
  }
}

function operation(path, method, found) {
  const box = element("details", {});
  box.append(element("summary", {}, element("span", { className: "method" }, method.toUpperCase()),
    element("code", {}, path), element("span", { className: "said" }, found.summary || "")));
  if (found.description) box.append(element("p", {}, found.description));
  const fields = (found.parameters || []).map(field);
  for (const each of fields) box.append(each.label);
  let body = null;
  const content = found.requestBody && found.requestBody.content["application/json"];
  if (content) {
    body = element("textarea", { value: pretty(exampleOf(content.schema, 0)) });
    box.append(element("label", {}, "Body", body));
  }
  const out = element("pre", { hidden: true });
  const button = element("button", { type: "button" }, "Try it");
  button.addEventListener("click", () => { out.hidden = false; send(path, method, fields, body, out); });
  box.append(button, out);
  for (const [status, response] of Object.entries(found.responses || {})) {
    box.append(element("p", {}, element("code", {}, status), ` ${response.description}`));
    const json = response.content && response.content["application/json"];
    if (json && status.startsWith("2")) box.append(element("pre", {}, pretty(exampleOf(json.schema, 0))));
  }
  return box;
}

async function show() {
  const main = document.getElementById("operations");
  try {
    document_ = await (await fetch("/openapi.json")).json();
  } catch (error) {
    main.textContent = `/openapi.json cannot be read: ${error}`;
    return;
  }
  document.getElementById("about").textContent = `${document_.info.version}. ${document_.info.description || ""}`;
  const groups = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const method of METHODS.filter((name) => name in methods)) {
      const tag = (methods[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, method, methods[method]));
    }
  }
  main.replaceChildren();
  for (const [tag, boxes] of groups) main.append(element("h2", {}, tag), ...boxes);
}

show();
"""


@router.get("/docs")
def page() -> Response:
    return Response(HTML, media_type="text/html", headers=HEADERS)


@router.get("/docs/page.js")
def script() -> Response:
    return Response(SCRIPT, media_type="text/javascript", headers=HEADERS)


@router.get("/docs/page.css")
def style() -> Response:
    return Response(CSS, media_type="text/css", headers=HEADERS)
