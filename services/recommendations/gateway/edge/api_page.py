"""The OpenAPI document as one HTML page, without a script and without anything from another host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto; }
table { border-collapse: collapse; } td, th { padding: .25rem .75rem; text-align: left; vertical-align: top; }
h2 code { background: #e8eef7; padding: .1rem .4rem; border-radius: .25rem; }
"""


def render_api_page(document: Mapping[str, Any]) -> str:
    """Return a page that shows every route, its body, its answers, and every schema."""
    info = document["info"]
    return "".join(
        [
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
            f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            '<p>The same as a document: <a href="openapi.json">openapi.json</a>.</p>',
            *_routes(document["paths"]),
            "<h1>Schemas</h1>",
            *_schemas(document["components"]["schemas"]),
        ]
    )


def _routes(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, route in methods.items():
            yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
            yield f"<p>{escape(route.get('summary', ''))}</p>"
            for header in route.get("parameters", ()):
                named = f"<code>{escape(header['name'])}</code> ({escape(header['in'])})"
                yield f"<p>{named}: {escape(header['description'])}</p>"
            if "requestBody" in route:
                yield f"<p>Body: {_links(route['requestBody'])}</p>"
            yield "<table><tr><th>status<th>meaning<th>body"
            for status, response in route["responses"].items():
                yield f"<tr><td>{escape(status)}<td>{escape(response['description'])}<td>{_links(response)}"
            yield "</table>"


def _links(described: Mapping[str, Any]) -> str:
    links = []
    for content_type, content in described.get("content", {}).items():
        name = str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
        target = f'<a href="#{escape(name)}">{escape(name)}</a> ' if name else ""
        links.append(f"{target}<code>{escape(content_type)}</code>")
    return ", ".join(links)


def _schemas(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(schema.get("description", ""))}</p>'
        yield f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"
