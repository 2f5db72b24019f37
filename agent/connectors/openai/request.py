"""What is asked of the server for a job: the job's own body, its input files put in."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.connectors.base import ServiceFault
from agent.connectors.openai.pictures import kind_of
from shared.wire.states import FailureClass

__all__ = ["STREAMED", "body_of"]

#: endpoints whose answer is text, and can be streamed
STREAMED = frozenset({"chat/completions", "completions"})
#: largest input that is put into a request, in bytes
INPUT_LIMIT_BYTES = 64 << 20


def body_of(payload: Mapping[str, Any], inputs: Mapping[str, Path]) -> dict[str, Any]:
    """The request's body: text is streamed unless the job says `"stream": false`.

    Args:
        payload: of the job, in its normal form.
        inputs: input name → file; an `image_url` that is exactly a name becomes the file's content.

    Raises:
        ServiceFault: class `bad_input`: an input is too large.
    """
    body = dict(payload["body"])
    if payload["endpoint"] not in STREAMED:
        body.pop("stream", None)
        return body
    if body.get("stream") is None:
        body["stream"] = True
    if inputs and isinstance(body.get("messages"), list):
        body["messages"] = [_filled(message, inputs) for message in body["messages"]]
    return body


def _filled(message: dict[str, Any], inputs: Mapping[str, Path]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return message | {"content": [_filled_part(part, inputs) for part in content]}


def _filled_part(part: Any, inputs: Mapping[str, Path]) -> Any:
    image = part.get("image_url") if isinstance(part, dict) else None
    if not isinstance(image, dict) or image.get("url") not in inputs:
        return part
    return part | {"image_url": image | {"url": _data_url(image["url"], inputs[image["url"]])}}


def _data_url(name: str, path: Path) -> str:
    if path.stat().st_size > INPUT_LIMIT_BYTES:
        raise ServiceFault(FailureClass.BAD_INPUT, f"input '{name}' is larger than {INPUT_LIMIT_BYTES} bytes")
    content = path.read_bytes()
    return f"data:{kind_of(content).content_type};base64,{base64.b64encode(content).decode()}"
