"""Workers and jobs judged by the Python twin or by the function library, one pair or many.

- Pairs are compiled once as long as they come again soon, told apart by their very text.
- Lines are taken as they come: all that wait are judged together, then answered, then more is waited for.
- One line in, one line out, in order; a line that can't be judged has an `error` in its place.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import BinaryIO

import msgspec

from shared.exits import ExitCode
from shared.wire.compiled import CompiledJob, CompiledWorker, compile_job, compile_worker, read_worker
from shared.wire.decode import decode, decode_job
from shared.wire.fault import InvalidDocument
from shared.wire.match import Verdict, takes
from shared.wire.why import Why, why

__all__ = ["ENGINES", "Judge", "Ruling", "compiled_pair", "judge_lines", "opened_judge"]

ENGINES = ("python", "lua")

#: read from standard input at once
CHUNK_BYTES = 1 << 20
#: asked of the library in one go
PAIRS_AT_ONCE = 500
#: texts whose compiled form is remembered
REMEMBERED = 4_096

Pair = tuple[CompiledJob, CompiledWorker]
#: verdicts on pairs, in order
Judge = Callable[[Sequence[Pair]], Awaitable[list[Verdict]]]


class Ruling(msgspec.Struct, frozen=True):
    """The answer on one pair."""

    match: bool
    #: None: the worker takes the job
    why: Why | None


class Line(msgspec.Struct, frozen=True):
    """A line of standard input; other members are the caller's own."""

    worker: msgspec.Raw
    job: msgspec.Raw


@asynccontextmanager
async def opened_judge(engine: str, store_url: str | None) -> AsyncGenerator[Judge, None]:
    """Who judges.

    Args:
        engine: one of `ENGINES`.
        store_url: the store whose library `lua` asks; None: one of its own.

    Raises:
        Misconfigured: `lua`, and no server program is here.
        Unavailable: `lua`, and the store can't be reached.
    """
    if engine == "python":
        yield ask_twin
        return
    from shared.store.matcher import Matcher  # takes its time

    async with Matcher.opened(store_url) as matcher:
        yield matcher.verdicts


async def ask_twin(pairs: Sequence[Pair]) -> list[Verdict]:
    """The Python twin's verdicts."""
    return [takes(job, worker) for job, worker in pairs]


def compiled_pair(worker: bytes, job: bytes) -> Pair:
    """The pair out of its JSON texts. Raises: InvalidDocument, its pointer beginning with `/worker` or `/job`."""
    at = "/job"
    try:
        asked = compiled_job(job)
        at = "/worker"
        return asked, compiled_worker(worker)
    except InvalidDocument as fault:
        raise fault.below(at) from None


def ruling(pair: Pair, verdict: Verdict) -> Ruling:
    """The verdict with its reason in words."""
    return Ruling(verdict.match, why(verdict, *pair))


async def judge_lines(judge: Judge, descriptor: int, answers: BinaryIO) -> int:
    """The exit code of judging all lines: 0, or 1 when one couldn't be judged. Raises: MusterError.

    Args:
        judge: who judges.
        descriptor: a file's, read to its end. Reading blocks: nothing else goes on meanwhile.
        answers: where the answers go.
    """
    code = 0
    for lines in waiting_lines(descriptor):
        for start in range(0, len(lines), PAIRS_AT_ONCE):
            found = [read_line(line) for line in lines[start : start + PAIRS_AT_ONCE]]
            pairs = [one for one in found if isinstance(one, tuple)]
            verdicts = iter(await judge(pairs))
            answers.writelines(answer_to(one, verdicts) for one in found)
            code = code if len(pairs) == len(found) else ExitCode.FAILED
        answers.flush()
    return code


def waiting_lines(descriptor: int) -> Iterator[list[bytes]]:
    """Whole lines, as many as have come."""
    rest = b""
    while chunk := os.read(descriptor, CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


def read_line(line: bytes) -> Pair | InvalidDocument:
    """The line's pair, or what is wrong with it."""
    try:
        members = decode(Line, line)
        return compiled_pair(bytes(members.worker), bytes(members.job))
    except InvalidDocument as fault:
        return fault


def answer_to(one: Pair | InvalidDocument, verdicts: Iterator[Verdict]) -> bytes:
    """The answering line; takes the next verdict if the line had a pair."""
    if isinstance(one, InvalidDocument):
        return line_of({"error": {"code": one.code, "detail": one.detail, "pointer": one.pointer}})
    return line_of(ruling(one, next(verdicts)))


def line_of(document: object) -> bytes:
    """The document as one line."""
    return msgspec.json.encode(document) + b"\n"


@lru_cache(maxsize=REMEMBERED)
def compiled_job(text: bytes) -> CompiledJob:
    """The job out of its JSON text. Raises: InvalidDocument."""
    return compile_job(decode_job(text))


@lru_cache(maxsize=REMEMBERED)
def compiled_worker(text: bytes) -> CompiledWorker:
    """The worker out of its JSON text. Raises: InvalidDocument."""
    return compile_worker(read_worker(decode(object, text)))
