"""The API's description: what the framework reads off the routes, and what it can't see there.

- Bodies are decoded by hand (exact pointers), so their schemas are put in here, out of the same types.
- Every error is a `Problem`.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    Operation,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.types import ControllerRouterHandler

from hub.callers import COOKIE
from hub.problems import MEDIA_TYPE, Problem
from shared import __version__
from shared.wire.job import JobRequest
from shared.wire.payloads import PAYLOAD_TYPES

__all__ = ["JobBatch", "describe", "takes", "takes_bytes"]

_REF = "#/components/schemas/{name}"
_METHODS = frozenset({"get", "put", "post", "delete", "patch", "head"})


class JobBatch(msgspec.Struct):
    """Up to 1,000 jobs of one pool; all are accepted, or none."""

    jobs: list[JobRequest]


def takes(*documents: type) -> type[Operation]:
    """The `operation_class` of a route whose JSON body is one of these."""
    refs: list[Schema | Reference] = [Reference(ref=_REF.format(name=document.__name__)) for document in documents]
    content = {"application/json": OpenAPIMediaType(schema=refs[0] if len(refs) == 1 else Schema(one_of=refs))}
    return _with_body(RequestBody(content=content, required=True))


def takes_bytes() -> type[Operation]:
    """The `operation_class` of a route whose body is a file."""
    return _with_body(RequestBody(content={"application/octet-stream": OpenAPIMediaType()}, required=True))


def describe(routes: list[ControllerRouterHandler], documents: list[type]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes.

    Args:
        routes: of the hub.
        documents: types of bodies beside jobs.
    """
    app = Litestar(routes, openapi_config=_config(), logging_config=None)
    schema: dict[str, Any] = msgspec.to_builtins(app.openapi_schema.to_schema(), enc_hook=str)
    _, components = msgspec.json.schema_components(
        [JobBatch, Problem, *PAYLOAD_TYPES.values(), *documents], ref_template=_REF
    )
    known = schema["components"].setdefault("schemas", {})
    schema["components"]["schemas"] = components | known
    _add_payloads(schema["components"]["schemas"])
    for path in schema["paths"].values():
        for method in path.keys() & _METHODS:
            _add_problems(path[method])
    return schema


def _config() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="A key: `mk_...`")
    session = SecurityScheme(type="apiKey", name=COOKIE, security_scheme_in="cookie", description="POST /v1/session")
    return OpenAPIConfig(
        title="Muster",
        version=__version__,
        description="GPU jobs go to the workers that pass muster.",
        use_handler_docstrings=True,
        security=[{"bearer": []}, {"session": []}],
        components=Components(security_schemes={"bearer": bearer, "session": session}),
    )


def _with_body(body: RequestBody) -> type[Operation]:
    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            self.request_body = body

    return WithBody


def _add_payloads(schemas: dict[str, Any]) -> None:
    """The payload of each service, beside the job it stands in."""
    options = [{"$ref": _REF.format(name=one.__name__), "title": name} for name, one in PAYLOAD_TYPES.items()]
    schemas["JobRequest"]["properties"]["payload"] |= {"anyOf": [*options, {"type": "object"}]}


def _add_problems(operation: dict[str, Any]) -> None:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name=Problem.__name__)}}}
    operation["responses"].pop("400", None)
    operation["responses"]["default"] = {"description": "What went wrong, and the remedy", "content": content}
