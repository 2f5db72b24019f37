"""A text answer as it grows, chunk by chunk; one that comes whole is a single chunk. Pure.

- It is a success when every choice has its `finish_reason`, and not before.
- An error is a failure wherever it stands, also after good chunks and before a `[DONE]`.
- Fields and chunks of unknown shape are skipped: servers add their own.
"""

from dataclasses import dataclass, field
from typing import Any

from agent.connectors.base import ServiceFault
from agent.connectors.openai.verdict import error_in, is_error
from shared.wire.states import FailureClass

__all__ = ["ANSWER_LIMIT_CHARACTERS", "Answer"]

#: a longer text is no answer any more but a server that can't stop
ANSWER_LIMIT_CHARACTERS = 64 << 20
#: `finish_reason`s that are no success
BROKEN_OFF = frozenset({"abort", "aborted", "cancelled", "error"})
FILTERED = "content_filter"
TRUNCATED = "length"
#: how servers call what a model thinks before it answers
REASONING = ("reasoning_content", "reasoning")


@dataclass
class _Choice:
    """One of the alternatives that a request with `n` asks for."""

    finish_reason: str | None = None
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    #: by index
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: dict[str, list[Any]] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """As the job's result shows it."""
        values: dict[str, Any] = {"text": "".join(self.text), "finish_reason": self.finish_reason}
        if self.finish_reason == TRUNCATED:
            values["truncated"] = True
        if self.reasoning:
            values["reasoning"] = "".join(self.reasoning)
        if self.tool_calls:
            values["tool_calls"] = [call for _, call in sorted(self.tool_calls.items())]
        if self.logprobs:
            values["logprobs"] = self.logprobs
        return values


class Answer:
    """What a server has said so far.

    Args:
        wanted: how many choices were asked for.
    """

    def __init__(self, wanted: int = 1) -> None:
        self._wanted = wanted
        self._choices: dict[int, _Choice] = {}
        self._usage: dict[str, Any] | None = None
        self._model: str | None = None
        self._characters = 0
        #: pieces of text so far, which most servers make one token each
        self.pieces = 0
        #: has the server said anything at all?
        self.begun = False
        #: pictures the model made, as `{"url": "data:image/png;base64,..."}`
        self.images: list[dict[str, Any]] = []

    def add(self, chunk: Any) -> None:
        """Take in what came.

        Args:
            chunk: decoded; `{"choices": [{"index", "delta": {"content"}, "finish_reason"}], "usage"}`, or with
                `message` or `text` in `delta`'s place.

        Raises:
            ServiceFault: it is an error, or no JSON object.
        """
        if not isinstance(chunk, dict):
            raise ServiceFault(FailureClass.SERVICE, "the server sent something else than a JSON object")
        if is_error(chunk):
            raise error_in(chunk)
        self.begun = True
        self._usage = chunk["usage"] if isinstance(chunk.get("usage"), dict) else self._usage
        self._model = chunk["model"] if isinstance(chunk.get("model"), str) else self._model
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add_choice(choice)

    @property
    def is_finished(self) -> bool:
        """Has every choice that was begun its end?"""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    @property
    def is_whole(self) -> bool:
        """Is everything there that was asked for, so that it doesn't matter how the stream ends?"""
        return self.is_finished and len(self._choices) >= self._wanted

    @property
    def tokens(self) -> int:
        """How many there are so far."""
        told = (self._usage or {}).get("completion_tokens")
        return told if isinstance(told, int) and told > self.pieces else self.pieces

    def ending(self, characters: int) -> str:
        """The last so many characters of the first choice's text."""
        taken = self._choices.get(0, _Choice()).text[-characters:]
        return "".join(taken)[-characters:]

    def values(self) -> dict[str, Any]:
        """The job's values: `{"text", "finish_reason", "usage", ...}`, with all `choices` when there are several.

        Raises:
            ServiceFault: it isn't a success; says why.
        """
        choices = [choice for _, choice in sorted(self._choices.items())]
        if not self.is_finished:
            raise ServiceFault(FailureClass.SERVICE, self._why_unfinished())
        for choice in choices:
            _require_success(choice)
        values = choices[0].values() | {"usage": self._usage or self._counted()}
        if self._model:
            values["model"] = self._model
        if len(choices) > 1:
            values["choices"] = [choice.values() for choice in choices]
        return values

    def _counted(self) -> dict[str, Any]:
        """Usage by the agent's own count, and said to be that."""
        return {"completion_tokens": self.pieces, "counted_by": "pieces"}

    def _why_unfinished(self) -> str:
        if not self._choices:
            return "the server's answer ended without any text"
        return f"the server's answer ended after {self.tokens} tokens without a finish_reason"

    def _add_choice(self, said: dict[str, Any]) -> None:
        index = said.get("index")
        choice = self._choices.setdefault(index if isinstance(index, int) else 0, _Choice())
        piece = said.get("delta") or said.get("message") or {"content": said.get("text")}
        self._add_piece(choice, piece if isinstance(piece, dict) else {})
        _add_logprobs(choice, said.get("logprobs"))
        if isinstance(said.get("finish_reason"), str):
            choice.finish_reason = said["finish_reason"]

    def _add_piece(self, choice: _Choice, piece: dict[str, Any]) -> None:
        text = _text(piece.get("content"))
        reasoning = next((piece[name] for name in REASONING if isinstance(piece.get(name), str)), "")
        refusal = piece["refusal"] if isinstance(piece.get("refusal"), str) else ""
        self.pieces += bool(text or reasoning)
        self._characters += len(text) + len(reasoning)
        if self._characters > ANSWER_LIMIT_CHARACTERS:
            raise ServiceFault(FailureClass.SERVICE, f"the answer is longer than {ANSWER_LIMIT_CHARACTERS} characters")
        for said, kept in ((text, choice.text), (reasoning, choice.reasoning), (refusal, choice.refusal)):
            if said:
                kept.append(said)
        _add_tool_calls(choice, piece.get("tool_calls"))
        images = piece.get("images")
        self.images += [
            image["image_url"]
            for image in (images if isinstance(images, list) else ())
            if isinstance(image, dict) and isinstance(image.get("image_url"), dict)
        ]


def _require_success(choice: _Choice) -> None:
    if choice.finish_reason == FILTERED:
        raise ServiceFault(FailureClass.REFUSED, "the server's content filter cut the answer off")
    if choice.finish_reason in BROKEN_OFF:
        raise ServiceFault(FailureClass.SERVICE, f"the server broke off: finish_reason '{choice.finish_reason}'")
    if choice.refusal:
        raise ServiceFault(FailureClass.REFUSED, f"the model refused: {''.join(choice.refusal)[:200]}")


def _text(content: Any) -> str:
    """The text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _add_tool_calls(choice: _Choice, said: Any) -> None:
    """Calls come in pieces: name and id once, the arguments' text bit by bit."""
    for position, call in enumerate(said if isinstance(said, list) else ()):
        if not isinstance(call, dict):
            continue
        index = call.get("index")
        index = index if isinstance(index, int) else position
        kept = choice.tool_calls.setdefault(index, {"type": "function", "function": {"name": "", "arguments": ""}})
        if isinstance(call.get("id"), str):
            kept["id"] = call["id"]
        function = call.get("function")
        for name in ("name", "arguments"):
            value = function.get(name) if isinstance(function, dict) else None
            kept["function"][name] += value if isinstance(value, str) else ""


def _add_logprobs(choice: _Choice, said: Any) -> None:
    for name, values in said.items() if isinstance(said, dict) else ():
        if isinstance(values, list):
            choice.logprobs.setdefault(name, []).extend(values)
