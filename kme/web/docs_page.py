"""An OpenAPI document as one plain HTML page: no script, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """\
body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1rem}td,th{border:1px solid #bbb;padding:.2rem .6rem;text-align:left;
vertical-align:top}code{background:#f2f2f2;padding:0 .2em}h2{margin-top:2.5rem;border-top:1px solid #bbb}"""


def page(document: Mapping[str, Any]) -> str:
    """The whole page, in UTF-8."""
    info, schemas = document["info"], document["components"]["schemas"]
    security = document["components"]["securitySchemes"].values()
    parts = [f"<h1>{escape(info['title'])}</h1>"]
    parts += [f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].split("\n\n")]
    parts += [f"<p>Authentication: {_text(one['type'])}. {_text(one['description'])}.</p>" for one in security]
    parts.append('<p>The same for programs: <a href="openapi.json">openapi.json</a>, OpenAPI 3.1.</p>')
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(document, f"{method.upper()} {path}", operation)
    parts.append("<h2>Data formats</h2>")
    for name, schema in schemas.items():
        parts.append(f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{_text(schema.get("description", ""))}</p>')
        parts.append(_members(schema))
    body = "\n".join(filter(None, parts))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _operation(document: Mapping[str, Any], title: str, operation: Mapping[str, Any]) -> Iterable[str]:
    yield f"<h2><code>{escape(title)}</code></h2>"
    yield f"<p><b>{_text(operation['summary'])}.</b> {_text(operation.get('description', ''))}</p>"
    rows = [
        (f"<code>{escape(one['name'])}</code>", one["in"], _kind(one["schema"]), _text(one.get("description", "")))
        for one in operation.get("parameters", ())
    ]
    yield _table(("parameter", "in", "is", "means"), rows)
    if body := operation.get("requestBody"):
        needed = "Body" if body["required"] else "Body, optional"
        yield f"<p>{needed}: {_content(body)}.</p>"
    answers = []
    for status, answer in operation["responses"].items():
        answer = document["components"]["responses"][status] if "$ref" in answer else answer
        headers = ", ".join(f"<code>{escape(name)}</code>" for name in answer.get("headers", ()))
        answers.append((status, _text(answer["description"]), _content(answer), headers))
    yield _table(("answer", "when", "body", "headers"), answers)


def _content(holder: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{_kind(media['schema'])} as <code>{escape(name)}</code>" for name, media in holder.get("content", {}).items()
    )


def _members(schema: Mapping[str, Any], prefix: str = "") -> str:
    return _table(("member", "is", "must be there", "means"), _rows(schema, prefix))


def _rows(schema: Mapping[str, Any], prefix: str) -> list[tuple[str, ...]]:
    rows = []
    for name, member in schema.get("properties", {}).items():
        shown = f"<code>{escape(prefix + name)}</code>"
        there = "yes" if name in schema.get("required", ()) else "no"
        rows.append((shown, _kind(member), there, _text(member.get("description", ""))))
        rows += _rows(member.get("items", {}), f"{prefix}{name}[].") if "items" in member else []
    return rows


def _kind(schema: Mapping[str, Any]) -> str:
    """The type and what limits it, in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    kinds = schema.get("type", "anything")
    words = [kinds if isinstance(kinds, str) else " or ".join(kinds)]
    least, most = (schema.get(name) for name in ("minimum", "maximum"))
    if least is not None:
        words.append(f"from {least}" + (f" to {most}" if most is not None else ""))
    least, most = (next((schema[n] for n in names if n in schema), None) for names in (_LEAST, _MOST))
    if least is not None or most is not None:
        words.append(f"of {least or 0} to {most} {_UNITS.get(words[0], 'items')}" if most else f"of {least} or more")
    words += [f"{label} {schema[name]}" for name, label in _FURTHER.items() if name in schema]
    return escape(", ".join(words))


_LEAST, _MOST = ("minLength", "minItems", "minProperties"), ("maxLength", "maxItems", "maxProperties")
_UNITS = {"string": "characters"}
_FURTHER = {
    "multipleOf": "a multiple of",
    "format": "format",
    "contentEncoding": "encoding",
    "default": "default",
}


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The cells are HTML already; nothing where there is no row."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{body}</table>" if body else ""


def _text(text: str) -> str:
    """Escaped, with `code` marked."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
