"""`muster match`: would this worker take this job? Offline; the library is asked in a server for the moment.

- With `--jsonl` each line of standard input has its line of standard output, written before more input is waited for.
- A line that can't be judged has an `error` in its place and doesn't keep the others from theirs.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import click

from shared.cli.exits import usage
from shared.cli.judging import ENGINES, Judge, Pair, Ruling, compiled_pair, judge_lines, opened_judge, ruling
from shared.cli.options import text_of
from shared.cli.output import print_json
from shared.exits import ExitCode
from shared.wire.fault import InvalidDocument

__all__ = ["match"]

T = TypeVar("T")

EXAMPLES = """\b
Examples:
  muster match --worker worker.json --job job.json
  muster match --worker worker.json --job - --engine lua --json < job.json
  muster match --jsonl < pairs.jsonl      # {"worker": {...}, "job": {...}} a line

A worker is its capability document with `accepts` and `identity` beside, a job is as submitted. Exit code 0: the worker
takes the job; 1: it doesn't, or with --jsonl a line couldn't be judged."""


@click.command(epilog=EXAMPLES)
@click.option("--worker", metavar="FILE", help="The worker, - for standard input.")
@click.option("--job", metavar="FILE", help="The job, - for standard input.")
@click.option("--engine", type=click.Choice(ENGINES), default="python", show_default=True, help="Who judges.")
@click.option("--store-url", metavar="URL", help="The store whose library --engine lua asks, else one of its own.")
@click.option("--jsonl", is_flag=True, help="Judge line after line of standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def match(*, worker: str | None, job: str | None, engine: str, store_url: str | None, **flags: bool) -> int:
    """Say offline whether a worker would take a job, and if not, the first thing in its way."""
    if store_url is not None and engine != "lua":
        raise usage("--store-url goes with --engine lua")
    if flags["jsonl"]:
        if worker is not None or job is not None:
            raise usage("--jsonl reads workers and jobs from standard input: leave out --worker and --job")
        return judged(engine, store_url, lambda judge: judge_lines(judge, sys.stdin.fileno(), sys.stdout.buffer))
    if worker is None or job is None:
        raise usage("give --worker and --job, or --jsonl")
    pair = read_pair(worker, job)
    [verdict] = judged(engine, store_url, lambda judge: judge([pair]))
    tell(ruling(pair, verdict), as_json=flags["as_json"])
    return 0 if verdict.match else ExitCode.FAILED


def read_pair(worker: str, job: str) -> Pair:
    """The pair out of its files. Raises: UsageError."""
    if worker == job == "-":
        raise usage("only one of --worker and --job can be standard input")
    texts = text_of("--worker", worker), text_of("--job", job)
    try:
        return compiled_pair(*(text.encode() for text in texts))
    except InvalidDocument as fault:
        raise usage(str(fault)) from None


def judged(engine: str, store_url: str | None, work: Callable[[Judge], Awaitable[T]]) -> T:
    """What the work makes of the judge. Raises: MusterError."""

    async def opened() -> T:
        async with opened_judge(engine, store_url) as judge:
            return await work(judge)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    return asyncio.run(opened())


def interrupted(*_: object) -> NoReturn:
    """Ends the work, also in the middle of a read, so that a server of its own goes with it."""
    raise KeyboardInterrupt


def tell(found: Ruling, *, as_json: bool) -> None:
    """The ruling, for people or programs."""
    if as_json:
        print_json(found)
    elif found.why is None:
        click.echo("match")
    else:
        click.echo(f"no match ({found.why.part}): {found.why.text}")
