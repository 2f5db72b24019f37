"""What the server's words mean for the job: who is at fault, in a sentence for people. Pure.

- The class comes from the status, `error.code` and `error.type`, never from a search through messages.
- `error.code` is the most exact, then the status, then `error.type`, which some servers set to one word for all.
- A message quotes what the server says for people, cut to one line; never a body that isn't JSON of a known shape.
"""

from http import HTTPStatus
from typing import Any

from agent.connectors.base import ServiceFault
from shared.wire.states import FailureClass

__all__ = ["error_in", "is_error", "refusal"]

MESSAGE_CHARACTERS = 300
FIRST_ERROR, LAST_ERROR = 400, 599

#: words of `error.code` and `error.type`, without case, `_`, `-` and blanks
CLASS_WORDS = {
    FailureClass.AUTH: (
        "invalidapikey authenticationerror autherror unauthorized permissionerror permissiondenied"
        " permissiondeniederror insufficientquota billingnotactive billinghardlimitreached accountdeactivated"
    ),
    FailureClass.UNFIT: (
        "modelnotfound modelnotfounderror notfounderror notfound deploymentnotfound notsupportederror"
        " notimplementederror"
    ),
    FailureClass.REFUSED: "contentpolicyviolation contentfilter moderationblocked responsibleaipolicyviolation",
    FailureClass.OOM: "outofmemoryerror outofmemory",
    FailureClass.BAD_INPUT: (
        "contextlengthexceeded exceedcontextsizeerror badrequesterror badrequest invalidrequesterror invalidrequest"
        " invalidvalue validationerror unprocessableentityerror stringabovemaxlength missingrequiredparameter"
    ),
    FailureClass.SERVICE: (
        "servererror internalservererror internalerror unavailableerror serviceunavailable overloadederror"
        " ratelimitexceeded ratelimiterror timeout"
    ),
}
CLASS_OF_WORD = {word: failure_class for failure_class, words in CLASS_WORDS.items() for word in words.split()}

CLASS_OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: FailureClass.AUTH,
    HTTPStatus.PAYMENT_REQUIRED: FailureClass.AUTH,
    HTTPStatus.FORBIDDEN: FailureClass.AUTH,
    HTTPStatus.NOT_FOUND: FailureClass.UNFIT,
    HTTPStatus.METHOD_NOT_ALLOWED: FailureClass.UNFIT,
    HTTPStatus.NOT_IMPLEMENTED: FailureClass.UNFIT,
    HTTPStatus.REQUEST_TIMEOUT: FailureClass.SERVICE,
    HTTPStatus.CONFLICT: FailureClass.SERVICE,
    HTTPStatus.TOO_EARLY: FailureClass.SERVICE,
    HTTPStatus.TOO_MANY_REQUESTS: FailureClass.SERVICE,
}


def is_error(body: Any) -> bool:
    """Is it an error in one of the shapes servers use, whatever the status it came with?"""
    return isinstance(body, dict) and (bool(body.get("error")) or body.get("object") == "error")


def error_in(body: Any) -> ServiceFault:
    """The fault for an error that came in an answer which began well.

    Args:
        body: one for which `is_error` is true.
    """
    error = _error(body)
    return ServiceFault(_class_of(_status_in(error), error), f"the server broke off: {_words(error) or 'no reason'}")


def refusal(status: int, body: Any) -> ServiceFault:
    """The fault for an answer whose status isn't one of success.

    Args:
        status: of the answer.
        body: its JSON, None when it has none: `{"error": {"message", "type", "param", "code"}}`, or FastAPI's
            `{"detail": ...}`.
    """
    error = _error(body)
    failure_class = _class_of(status, error)
    if failure_class is FailureClass.AUTH:
        # what a server says of a key may hold a part of it
        return ServiceFault(failure_class, f"the server answered {status}: it doesn't take the agent's key for it")
    words = _words(error) or _detail(body)
    return ServiceFault(failure_class, f"the server answered {status}" + (f": {words}" if words else ""))


def _error(body: Any) -> dict[str, Any]:
    """The error's own object; a bare text becomes its message."""
    if not isinstance(body, dict):
        return {}
    error = body.get("error", body if body.get("object") == "error" else None)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _class_of(status: int | None, error: dict[str, Any]) -> FailureClass:
    by_code, by_type = (CLASS_OF_WORD.get(_word(error.get(name))) for name in ("code", "type"))
    if by_code:
        return by_code
    if status in CLASS_OF_STATUS:
        refused = by_type is FailureClass.REFUSED
        return FailureClass.REFUSED if refused else CLASS_OF_STATUS[HTTPStatus(status)]
    if status is None:
        return by_type or FailureClass.SERVICE
    if FIRST_ERROR <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return by_type or FailureClass.BAD_INPUT
    return FailureClass.OOM if by_type is FailureClass.OOM else FailureClass.SERVICE


def _word(value: Any) -> str:
    """`BadRequestError`, `bad_request_error` and `bad request error` are one word."""
    return "".join(sign for sign in str(value).lower() if sign not in "_- ")


def _status_in(error: dict[str, Any]) -> int | None:
    """Servers that speak of a status only in the body."""
    code = str(error.get("code"))
    status = int(code) if code.isascii() and code.isdigit() else 0
    return status if FIRST_ERROR <= status <= LAST_ERROR else None


def _words(error: dict[str, Any]) -> str:
    message = error.get("message")
    lines = message.strip().splitlines() if isinstance(message, str) else []
    return _cut(lines[0]) if lines else ""


def _detail(body: Any) -> str:
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list):
        detail = "; ".join(_complaint(one) for one in detail if isinstance(one, dict))
    return _cut(detail) if isinstance(detail, str) else ""


def _complaint(one: dict[str, Any]) -> str:
    place = one.get("loc")
    where = ".".join(str(part) for part in place) if isinstance(place, list) else "?"
    return f"{where}: {one.get('msg')}"


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= MESSAGE_CHARACTERS else sentence[: MESSAGE_CHARACTERS - 1] + "…"
