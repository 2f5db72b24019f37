"""Pictures of unfinished work, out of the server's binary frames.

- A frame is `>I` its kind, then: kind 1: `>I` 1 for JPEG or 2 for PNG, picture; kind 4: `>I` length, that much JSON
  `{"prompt_id", "node_id", "display_node_id", "image_type"}`, picture. Other kinds are no pictures.
- A picture travels as text within the progress, so one that is too large for that is dropped.
- At most one a gap is told, the last one wins.
"""

import asyncio
import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.wire.job import PREVIEW_LIMIT_BYTES

__all__ = ["Picture", "Previews", "picture_in"]

PLAIN, WITH_METADATA = 1, 4
HEAD = struct.Struct(">II")
#: how a picture begins → what it is; the server's word alone isn't taken for it
SIGNATURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"RIFF": "image/webp"}


@dataclass(frozen=True)
class Picture:
    """One preview."""

    #: `data:image/jpeg;base64,...`
    data_url: str
    #: None: the server doesn't say; it is of what runs for this client
    prompt_id: str | None = None
    node_id: str | None = None


def picture_in(frame: bytes) -> Picture | None:
    """The frame's picture; None: it has none, or one too large."""
    if len(frame) < HEAD.size:
        return None
    kind, number = HEAD.unpack_from(frame)
    rest = frame[HEAD.size :]
    if kind == PLAIN:
        data_url = _data_url(rest)
        return Picture(data_url) if data_url else None
    told = _decoded(rest[:number]) if kind == WITH_METADATA else None
    data_url = _data_url(rest[number:])
    if not data_url or not isinstance(told, dict) or not isinstance(told.get("prompt_id"), str):
        return None
    return Picture(data_url, told["prompt_id"], str(told.get("display_node_id") or told.get("node_id")))


class Previews:
    """Passes pictures on, at most one a gap.

    Args:
        tell: is told a node and its picture.
        gap_s: between two.
    """

    def __init__(self, tell: Callable[[str, str], None], gap_s: float) -> None:
        self._tell = tell
        self._gap_s = gap_s
        self._told_at_s = float("-inf")
        self._last: tuple[str, str] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take(self, node: str, data_url: str) -> None:
        """A newer picture."""
        self._last = node, data_url
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._told_at_s + self._gap_s), self._told)

    def stop(self) -> None:
        """No more is told."""
        if self._timer is not None:
            self._timer.cancel()

    def _told(self) -> None:
        self._timer = None
        self._told_at_s = asyncio.get_running_loop().time()
        if self._last is not None:
            self._tell(*self._last)


def _data_url(content: bytes) -> str | None:
    content_type = next((kind for start, kind in SIGNATURES.items() if content.startswith(start)), None)
    if content_type is None or len(content) > PREVIEW_LIMIT_BYTES:
        return None
    return f"data:{content_type};base64,{base64.b64encode(content).decode()}"


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
