"""Pictures of unfinished work, as ComfyUI sends them in binary frames."""

import asyncio
import base64
import json
import struct
from typing import Any

import pytest

from agent.connectors.comfyui.previews import Picture, Previews, picture_in
from shared.wire.job import PREVIEW_LIMIT_BYTES
from tests.support.waiting import wait_until

JPEG = b"\xff\xd8\xff" + b"x" * 50
JPEG_URL = "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()


def described(content: bytes, facts: Any, length: int | None = None) -> bytes:
    text = json.dumps(facts).encode()
    return struct.pack(">II", 4, len(text) if length is None else length) + text + content


def test_a_picture_with_metadata_names_its_prompt_and_node() -> None:
    facts = {"prompt_id": "p", "node_id": "5:1", "display_node_id": "5", "image_type": "image/jpeg"}
    assert picture_in(described(JPEG, facts)) == Picture(JPEG_URL, "p", "5")


def test_a_picture_without_metadata_names_nothing() -> None:
    assert picture_in(struct.pack(">II", 1, 1) + JPEG) == Picture(JPEG_URL)


@pytest.mark.parametrize(("content", "kind"), [(b"\x89PNG\r\n\x1a\n", "png"), (b"RIFF\x00\x00\x00\x00WEBP", "webp")])
def test_what_it_is_comes_from_the_content(content: bytes, kind: str) -> None:
    picture = picture_in(struct.pack(">II", 1, 1) + content)
    assert picture
    assert picture.data_url.startswith(f"data:image/{kind};base64,")


def test_the_largest_picture_is_taken_and_a_larger_one_dropped() -> None:
    most = JPEG.ljust(PREVIEW_LIMIT_BYTES, b"x")
    assert picture_in(struct.pack(">II", 1, 1) + most)
    assert picture_in(struct.pack(">II", 1, 1) + most + b"x") is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0\1",
        struct.pack(">II", 1, 1) + b"<svg onload=alert(1)>",
        struct.pack(">II", 3, 1) + b"5some text",
        struct.pack(">II", 4, 1 << 31) + JPEG,
        described(JPEG, ["no object"]),
        described(JPEG, {"node_id": "5"}),
        described(JPEG, {"prompt_id": 5}),
        described(JPEG, {"prompt_id": "p"}, length=3),
        described(b"", {"prompt_id": "p"}),
    ],
)
def test_anything_else_is_no_picture(frame: bytes) -> None:
    assert picture_in(frame) is None


async def test_the_last_picture_of_a_gap_is_told_at_its_end() -> None:
    told: list[str] = []
    previews = Previews(lambda node, data_url: told.append(f"{node} {data_url}"), gap_s=0.2)
    previews.take("5", "first")
    await wait_until(lambda: told, 1, "the first is told at once")
    began_s = asyncio.get_running_loop().time()
    for number in range(10):
        previews.take("5", str(number))
    await wait_until(lambda: len(told) > 1, 1, "the next is told")
    assert asyncio.get_running_loop().time() - began_s > 0.15
    assert told == ["5 first", "5 9"]


async def test_nothing_is_told_after_the_stop() -> None:
    told: list[str] = []
    previews = Previews(lambda node, _: told.append(node), gap_s=0.0)
    previews.take("5", "picture")
    previews.stop()
    ended = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, ended.set)
    await ended.wait()
    assert told == []
