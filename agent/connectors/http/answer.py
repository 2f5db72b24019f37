"""What a service's answers mean: values, files, faults.

- Classes come from the status alone; the words are what stands at the `error` pointer.
- JSON and text become values; anything else becomes an output file.
"""

import mimetypes
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from agent.connectors.base import Finished, OutputFile, ServiceFault
from agent.connectors.service_http import save
from shared.wire.states import FailureClass

__all__ = ["at", "document_of", "fault_of", "finished", "values_of"]

#: status → class; others below 500 are the job's fault, from 500 the service's
CLASSES: Mapping[int, FailureClass] = {
    HTTPStatus.UNAUTHORIZED: FailureClass.AUTH,
    HTTPStatus.FORBIDDEN: FailureClass.AUTH,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: FailureClass.AUTH,
    HTTPStatus.NOT_FOUND: FailureClass.UNFIT,
    HTTPStatus.METHOD_NOT_ALLOWED: FailureClass.UNFIT,
    HTTPStatus.GONE: FailureClass.UNFIT,
    HTTPStatus.NOT_IMPLEMENTED: FailureClass.UNFIT,
    HTTPStatus.REQUEST_TIMEOUT: FailureClass.SERVICE,
    HTTPStatus.TOO_EARLY: FailureClass.SERVICE,
    HTTPStatus.TOO_MANY_REQUESTS: FailureClass.SERVICE,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: FailureClass.REFUSED,
}
JSON_TYPE = re.compile(r"^application/(.+\+)?json$")
FILE_NAME = re.compile(r'filename="?([^";]+)"?')
STOCK_NAME = "output"
MESSAGE_CHARACTERS = 300
#: stands for what isn't there
NOTHING: Any = object()


def at(document: Any, pointer: str) -> Any:
    """What stands at a JSON pointer; None: nothing."""
    for part in pointer.split("/")[1:]:
        document = _child(document, part.replace("~1", "/").replace("~0", "~"))
    return None if document is NOTHING else document


def document_of(response: httpx2.Response) -> Any:
    """The decoded JSON of an answer that was read; None: it isn't JSON."""
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def fault_of(response: httpx2.Response, service: str, error: str) -> ServiceFault:
    """The fault for an answer that isn't a success and was read.

    Args:
        response: of the service.
        service: its word.
        error: pointer to what it says of it.
    """
    status = response.status_code
    usual = FailureClass.BAD_INPUT if response.is_client_error else FailureClass.SERVICE
    words = words_at(document_of(response), error)
    return ServiceFault(
        CLASSES.get(status, usual),
        f"{service} answered {status}" + (f": {words}" if words else ""),
    )


def words_at(document: Any, pointer: str) -> str:
    """What the service says for people; empty: nothing."""
    found = at(document, pointer)
    text = found if isinstance(found, str) else "" if found is None else msgspec.json.encode(found).decode()
    return text[:MESSAGE_CHARACTERS]


async def finished(response: httpx2.Response, folder: Path, service: str, pointer: str) -> Finished:
    """The result out of a streamed answer of success.

    Args:
        response: not read yet.
        folder: for output files.
        service: its word.
        pointer: where JSON has the result.

    Raises:
        ServiceFault: class `service`: there is no result; `network`: not all of it came.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if JSON_TYPE.match(kind):
        await response.aread()
        return Finished(values=values_of(document_of(response), service, pointer))
    if kind.startswith("text/"):
        await response.aread()
        return Finished(values={"text": response.text})
    if response.status_code == HTTPStatus.NO_CONTENT:
        return Finished()
    name = _name(response.headers.get("content-disposition", ""), kind)
    await save(response, folder / name)
    return Finished(outputs=(OutputFile(name=name, path=folder / name, content_type=kind or None),))


def values_of(document: Any, service: str, pointer: str) -> dict[str, Any]:
    """What stands at the pointer, as values; what isn't an object becomes `{"result": ...}`.

    Raises:
        ServiceFault: class `service`: nothing stands there.
    """
    found = at(document, pointer)
    if found is None:
        raise ServiceFault(FailureClass.SERVICE, f"{service} answered without a result at '{pointer or '/'}'")
    return found if isinstance(found, dict) else {"result": found}


def _child(document: Any, part: str) -> Any:
    if isinstance(document, dict):
        return document.get(part, NOTHING)
    if isinstance(document, list) and part.isdecimal() and int(part) < len(document):
        return document[int(part)]
    return NOTHING


def _name(disposition: str, kind: str) -> str:
    """A plain file name."""
    found = FILE_NAME.search(disposition)
    name = re.split(r"[/\\]", found[1].strip())[-1] if found else ""
    if name.strip(".") and name.isprintable():
        return name[:255]
    return STOCK_NAME + (mimetypes.guess_extension(kind) or "")
