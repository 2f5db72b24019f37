"""What the openai service takes: one request of an OpenAI-compatible API, as its own clients would send it.

- Fields that the agent neither needs nor changes are passed on: which ones there are is the server's to say.
- Pictures in messages are inputs of the job, referred to by name, or URLs.
- No field carries a login: that is the agent's.
"""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = ["REQUESTS", "OpenAIPayload", "unused_input", "wrapped"]

Endpoint = Literal["chat/completions", "completions", "embeddings", "images/generations"]
Count = Annotated[int, Meta(ge=1, le=128)]
Name = Annotated[str, Meta(min_length=1)]


class OpenAIPayload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible request: `{"endpoint": "embeddings", "body": {"input": "a cat"}}`, or a bare chat body.

    Text is streamed as progress unless the body says `"stream": false`. An `image_url` whose `url` is exactly the name
    of one of the job's inputs becomes that file.
    """

    #: the path below `/v1`
    endpoint: Endpoint = "chat/completions"
    #: as the API documents it; `model` may be left to the job's `model`, or to the server
    body: dict[str, Any]


class Message(msgspec.Struct, frozen=True):
    """One message of a chat; its content is text or a list of parts."""

    role: Name
    content: str | list[dict[str, Any]] | None = None


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What requests for text have in common."""

    model: Name | None = None
    #: how many alternatives
    n: Count | None = None
    stream: bool | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None


class ChatRequest(TextRequest, frozen=True, kw_only=True):
    """Body of `chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None


class CompletionRequest(TextRequest, frozen=True, kw_only=True):
    """Body of `completions`."""

    prompt: str | list[Any]


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `embeddings`."""

    #: a text, several, or tokens
    input: Annotated[str, Meta(min_length=1)] | Annotated[list[Any], Meta(min_length=1)]
    model: Name | None = None


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `images/generations`."""

    prompt: Name
    model: Name | None = None
    n: Count | None = None


#: endpoint → what its body must have at least
REQUESTS: dict[str, type[msgspec.Struct]] = {
    "chat/completions": ChatRequest,
    "completions": CompletionRequest,
    "embeddings": EmbeddingRequest,
    "images/generations": ImageRequest,
}


def wrapped(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with its body apart; a bare chat body is recognised by its `messages`."""
    is_bare = "messages" in payload and not {"endpoint", "body"} & payload.keys()
    return {"body": payload} if is_bare else payload


def unused_input(payload: OpenAIPayload, input_names: Collection[str]) -> str | None:
    """The first of the job's inputs that no message refers to."""
    used = set(_image_urls(payload.body)) if payload.endpoint == "chat/completions" else set()
    return next((name for name in input_names if name not in used), None)


def _image_urls(body: dict[str, Any]) -> Iterator[str]:
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            image = part.get("image_url")
            if isinstance(image, dict) and isinstance(image.get("url"), str):
                yield image["url"]
