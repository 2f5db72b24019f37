"""`/openapi.json`, and `/docs`: the same for people, as one page without scripts or anything from elsewhere."""

from collections.abc import Iterator
from html import escape
from typing import Any

import msgspec
from litestar import Request, Response, get

from hub.auth import open_to_all

__all__ = ["ROUTES"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h2 { font: 600 1rem ui-monospace, monospace; margin: 2rem 0 .25rem } b { display: inline-block; min-width: 4rem }
pre { background: #f4f4f2; padding: .75rem; overflow: auto; font-size: .85rem } li { margin: .1rem 0 }
"""


@get("/openapi.json", opt=open_to_all(), include_in_schema=False)
async def get_openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The API's description, OpenAPI 3.1."""
    text = msgspec.json.encode(request.app.state["describe"]())
    return Response(text, media_type="application/json")


@get("/docs", opt=open_to_all(), include_in_schema=False)
async def get_docs(request: Request[Any, Any, Any]) -> Response[str]:
    """The API's description for people."""
    return Response(_page(request.app.state["describe"]()), media_type="text/html", headers=HEADERS)


def _page(schema: dict[str, Any]) -> str:
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in sorted(schema["paths"].items())
        for method, operation in methods.items()
        if isinstance(operation, dict) and "responses" in operation
    )
    documents = "".join(_document(name, one) for name, one in sorted(schema["components"]["schemas"].items()))
    title = f"Muster {escape(schema['info']['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1><p>{escape(schema['info']['description'])} The same for programs: "
        f'<a href="/openapi.json">/openapi.json</a>. Send a key: <code>Authorization: Bearer mk_...</code></p>'
        f"{operations}<h1>Documents</h1>{documents}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = escape(operation.get("description") or operation.get("summary") or "")
    parameters = "".join(_parameters(operation))
    return f"<h2><b>{method.upper()}</b> {escape(path)}</h2><p>{text}</p><ul>{parameters}</ul>"


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    for one in operation.get("parameters", ()):
        must = " (required)" if one.get("required") else ""
        yield f"<li><code>{escape(one['name'])}</code> in {escape(one['in'])}{must}</li>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        names = " or ".join(sorted(_names(content))) or "the file"
        yield f"<li>body: {names} as <code>{escape(media_type)}</code></li>"


def _names(value: Any) -> Iterator[str]:
    """Documents a schema refers to, as links into the page."""
    if isinstance(value, dict):
        if "$ref" in value:
            name = escape(str(value["$ref"]).rpartition("/")[2])
            yield f'<a href="#{name}">{name}</a>'
        for inner in value.values():
            yield from _names(inner)
    if isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def _document(name: str, document: dict[str, Any]) -> str:
    text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    return f'<h2 id="{escape(name)}">{escape(name)}</h2><pre>{escape(text)}</pre>'


ROUTES = [get_openapi, get_docs]
