"""Pictures in answers, as base64 text or as an address, into output files."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.connectors.base import OutputFile, ServiceFault
from agent.connectors.openai.http import OpenAIHttp
from shared.wire.states import FailureClass

__all__ = ["Kind", "kind_of", "saved"]

#: so many bytes tell what a file is
HEAD_BYTES = 12
DATA_URL = "data:"


@dataclass(frozen=True)
class Kind:
    """What a file is, by its content."""

    suffix: str
    content_type: str


UNKNOWN = Kind(".bin", "application/octet-stream")
#: how content begins → what it is
KINDS = {
    b"\x89PNG\r\n\x1a\n": Kind(".png", "image/png"),
    b"\xff\xd8\xff": Kind(".jpg", "image/jpeg"),
    b"GIF8": Kind(".gif", "image/gif"),
    b"BM": Kind(".bmp", "image/bmp"),
}
WEBP = Kind(".webp", "image/webp")


def kind_of(content: bytes) -> Kind:
    """What the content is."""
    head = content[:HEAD_BYTES]
    if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        return WEBP
    return next((kind for beginning, kind in KINDS.items() if head.startswith(beginning)), UNKNOWN)


async def saved(images: Sequence[dict[str, Any]], folder: Path, http: OpenAIHttp) -> tuple[OutputFile, ...]:
    """An output file for each picture: `image-1.png`, ...

    Args:
        images: each `{"b64_json": ...}` or `{"url": ...}`, which may be a `data:` URL.
        folder: to write to.
        http: the server, for those it only names.

    Raises:
        ServiceFault: one can't be had.
    """
    outputs = []
    for number, image in enumerate(images, 1):
        content = await _content(image, http)
        kind = kind_of(content)
        path = folder / f"image-{number}{kind.suffix}"
        await asyncio.to_thread(_write, path, content)
        outputs.append(OutputFile(name=path.name, path=path, content_type=kind.content_type))
    return tuple(outputs)


async def _content(image: dict[str, Any], http: OpenAIHttp) -> bytes:
    encoded, url = image.get("b64_json"), image.get("url")
    if isinstance(encoded, str):
        return await asyncio.to_thread(_decoded, encoded)
    if isinstance(url, str) and url.startswith(DATA_URL):
        return await asyncio.to_thread(_decoded, url.partition(",")[2])
    if isinstance(url, str) and url:
        return await http.fetch(url)
    raise ServiceFault(FailureClass.SERVICE, "the server's answer has a picture without content")


def _decoded(text: str) -> bytes:
    try:
        content = base64.b64decode(text)
    except (binascii.Error, ValueError):
        raise ServiceFault(FailureClass.SERVICE, "the server's answer has a picture that isn't base64") from None
    if not content:
        raise ServiceFault(FailureClass.SERVICE, "the server's answer has an empty picture")
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
