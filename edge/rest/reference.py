"""The page `/docs`: the REST interface for people, made from its OpenAPI document. Pure.

It is plain HTML without scripts of its own, so that it needs no renderer from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Stenobus: REST reference</title>
<link rel="icon" href="{root}/web/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{root}/web/styles/base.css">
<link rel="stylesheet" href="{root}/web/styles/docs.css">
<script src="{root}/web/theme.js"></script>
</head>
<body>
<main class="reference">
<nav aria-label="Contents">{contents}</nav>
<article>
<h1>Stenobus REST</h1>
{about}
{below}
<p>For programs: <a href="{root}/openapi.json">openapi.json</a> describes this interface, and
<a href="{root}/asyncapi.json">asyncapi.json</a> the capture socket and the bus.</p>
{operations}
<h2 id="schemas">Schemas</h2>
{schemas}
</article>
</main>
</body>
</html>
"""

_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "pattern {}",
    "default": "default {}",
}


def page(specification: Json, root: str = "") -> str:
    """The page as HTML. root: the path prefix of the server, `""` for none."""
    schemas = specification["components"]["schemas"]
    operations = list(_operations(specification))
    return _PAGE.format(
        root=escape(root or "."),
        below=f"<p>Here, all paths are below <code>{escape(root)}</code>.</p>" if root else "",
        contents=_contents(specification, operations),
        about=_prose(specification["info"]["description"]),
        operations="\n".join(
            f"<h2>{escape(tag['name'])}</h2>\n"
            + "\n".join(_operation(*each) for each in operations if tag["name"] in each[2]["tags"])
            for tag in specification["tags"]
        ),
        schemas="\n".join(_schema(name, schema) for name, schema in sorted(schemas.items())),
    )


def _operations(specification: Json) -> Iterable[tuple[str, str, Json]]:
    for path, methods in specification["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _contents(specification: Json, operations: Iterable[tuple[str, str, Json]]) -> str:
    entries = list(operations)
    parts = []
    for tag in specification["tags"]:
        links = [
            f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a></li>'
            for _, _, operation in entries
            if tag["name"] in operation["tags"]
        ]
        parts.append(f"<h3>{escape(tag['name'])}</h3><ul>{''.join(links)}</ul>")
    return "".join(parts) + '<h3><a href="#schemas">Schemas</a></h3>'


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [
        f'<section id="{operation["operationId"]}">',
        f"<h3>{escape(operation['summary'])}</h3>",
        f'<p class="route"><b class="{method.lower()}">{method}</b> <code>{escape(path)}</code></p>',
        _prose(operation["description"]),
    ]
    if parameters := operation.get("parameters"):
        rows = [
            (f"<code>{escape(each['name'])}</code> <small>{each['in']}</small>", _type(each["schema"]), _about(each))
            for each in parameters
        ]
        parts.append(_table(("Parameter", "Type", ""), rows))
    if body := operation.get("requestBody"):
        parts.append(f"<p>Body, JSON: {_content(body['content'])}.</p>")
    if kinds := operation.get("x-events"):
        rows = [(f"<code>{kind}</code>", _type(schema), "") for kind, schema in kinds.items()]
        parts.append(_table(("Event", "Data", ""), rows))
    answers = [
        (f"<code>{status}</code>", _content(response.get("content", {})), _inline(response["description"]))
        for status, response in operation["responses"].items()
    ]
    parts += [_table(("Status", "Body", ""), answers), "</section>"]
    return "\n".join(parts)


def _schema(name: str, schema: Json) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (
            f"<code>{escape(field)}</code>" + ("" if field in required else " <small>optional</small>"),
            _type(details),
            _about(details),
        )
        for field, details in schema.get("properties", {}).items()
    ]
    return "\n".join(
        [
            f'<section id="schema-{escape(name)}">',
            f"<h3>{escape(name)}</h3>",
            _prose(schema.get("description", "")),
            _table(("Field", "Type", ""), rows),
            "</section>",
        ]
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th scope=col>{name}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _content(content: Json) -> str:
    found = [
        _type(details["schema"]) if "schema" in details else f"<code>{escape(name)}</code>"
        for name, details in content.items()
    ]
    return ", ".join(found)


def _type(schema: Json) -> str:
    """A schema in a few words; a named one is a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("format") or schema.get("type") or "any"))


def _about(schema: Json) -> str:
    """The description of a field or parameter, and its limits."""
    facts = {**schema.get("schema", {}), **schema}
    for option in facts.get("anyOf", ()):
        facts = {**option, **facts}
    limits = [text.format(escape(str(facts[name]))) for name, text in _LIMITS.items() if _tells(facts.get(name))]
    text = _inline(schema.get("description", ""))
    return f"{text} <small>{', '.join(limits)}</small>".strip() if limits else text


def _tells(value: object) -> bool:
    return value is not None and value not in ("", [], {})


def _prose(text: str) -> str:
    return "\n".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def _inline(text: str) -> str:
    """Text with `code`."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
