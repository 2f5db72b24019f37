"""Pictures in and out of JSON: base64 of input files, files out of base64.

- What a picture is, its own first bytes say.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.connectors.base import OutputFile, ServiceFault
from shared.wire.states import FailureClass

__all__ = ["encoded", "save_pictures"]

#: first bytes → suffix and content type
KINDS: Mapping[bytes, tuple[str, str]] = {
    b"\x89PNG\r\n\x1a\n": ("png", "image/png"),
    b"\xff\xd8\xff": ("jpg", "image/jpeg"),
    b"GIF8": ("gif", "image/gif"),
}
RIFF, WEBP = b"RIFF", b"WEBP"
#: begins a picture that a browser would show; the base64 follows a comma
DATA_URL = "data:"


def encoded(files: Mapping[str, Path]) -> dict[str, str]:
    """Name → the file's bytes as base64."""
    return {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}


def save_pictures(texts: Sequence[str], folder: Path) -> tuple[OutputFile, ...]:
    """The pictures as files `00001.png` and so on.

    Args:
        texts: base64, with or without `data:image/png;base64,` before it.
        folder: there already.

    Raises:
        ServiceFault: class `service`: one isn't a picture.
    """
    return tuple(_save(text, folder, number) for number, text in enumerate(texts, 1))


def _save(text: str, folder: Path, number: int) -> OutputFile:
    try:
        content = base64.b64decode(text.partition(",")[2] if text.startswith(DATA_URL) else text, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    kind = _kind(content)
    if kind is None:
        raise ServiceFault(FailureClass.SERVICE, f"what the A1111 server calls picture {number} isn't one")
    path = folder / f"{number:05}.{kind[0]}"
    path.write_bytes(content)
    return OutputFile(name=path.name, path=path, content_type=kind[1])


def _kind(content: bytes) -> tuple[str, str] | None:
    if content[:4] == RIFF and content[8:12] == WEBP:
        return "webp", "image/webp"
    return next((kind for beginning, kind in KINDS.items() if content.startswith(beginning)), None)
