"""What the server's words mean for the job: who is at fault, in a sentence for people. Pure.

- Classes come from the status and the error type, never from a search through messages or stack traces.
- Bodies: `{"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory. ..."}` of the web UI,
  `{"detail": [{"loc": ["body", "steps"], "msg": "..."}]}` of its framework, `{"error": "..."}` of sd-server.
"""

from http import HTTPStatus
from typing import Any

import httpx2
import msgspec

from agent.connectors.base import ServiceFault
from shared.wire.states import FailureClass

__all__ = ["fault_of", "json_of"]

OOM_TYPES = frozenset({"OutOfMemoryError", "MemoryError"})
#: the framework's words for a path it doesn't have; the web UI's own 404s say what wasn't found
NO_SUCH_PATH = "Not Found"
#: a 500 of the web UI that is the client's fault
BAD_PICTURE = ("HTTPException", "Invalid encoded image")
BAD_INPUT_STATUSES = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
AUTH_STATUSES = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
MESSAGE_CHARACTERS = 300


def json_of(response: httpx2.Response) -> Any:
    """The decoded body; None: it isn't JSON."""
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def fault_of(response: httpx2.Response) -> ServiceFault:
    """The fault for an answer that isn't a picture."""
    status, path = response.status_code, response.request.url.path
    body = json_of(response)
    body = body if isinstance(body, dict) else {}
    kind, words = str(body.get("error") or ""), _words(body)
    if status in AUTH_STATUSES:
        return ServiceFault(FailureClass.AUTH, f"the A1111 server answered {status}: see A1111_AUTH of the agent")
    if status == HTTPStatus.METHOD_NOT_ALLOWED or (status == HTTPStatus.NOT_FOUND and words in ("", NO_SUCH_PATH)):
        return ServiceFault(FailureClass.UNFIT, f"the A1111 server has no {path}; was it started with --api?")
    sentence = f"A1111 answered {status}" + "".join(f": {part}" for part in dict.fromkeys((kind, words)) if part)
    return ServiceFault(_class_of(status, kind, body), _cut(sentence))


def _class_of(status: int, kind: str, body: dict[str, Any]) -> FailureClass:
    if kind in OOM_TYPES:
        return FailureClass.OOM
    if (kind, body.get("detail")) == BAD_PICTURE:
        return FailureClass.BAD_INPUT
    if status in BAD_INPUT_STATUSES or status == HTTPStatus.NOT_FOUND:
        return FailureClass.BAD_INPUT
    return FailureClass.SERVICE


def _words(body: dict[str, Any]) -> str:
    detail = body.get("detail") or body.get("errors") or ""
    if isinstance(detail, list):
        return "; ".join(_complaint(item) for item in detail)
    lines = str(detail).strip().splitlines()
    return lines[0] if lines else ""


def _complaint(item: Any) -> str:
    """`{"loc": ["body", "steps"], "msg": "value is not a valid integer"}` as a sentence."""
    if not isinstance(item, dict):
        return str(item)
    place = item.get("loc")
    where = ".".join(str(part) for part in place if part != "body") if isinstance(place, list) else ""
    return f"{where}: {item.get('msg')}" if where else str(item.get("msg"))


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= MESSAGE_CHARACTERS else sentence[: MESSAGE_CHARACTERS - 1] + "…"
