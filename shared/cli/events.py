"""`muster events`: what happened lately, and what happens."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import click
import msgspec

from shared.cli.exits import usage
from shared.cli.options import Asking, asking
from shared.cli.output import plain, print_json, time_of_day
from shared.client import Hub
from shared.errors import Unavailable
from shared.wire.views import Event

__all__ = ["events"]

#: without --follow: all is told when nothing came for so long
QUIET_S = 0.5
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
EXAMPLES = """\b
Examples:
  muster events --since 10m
  muster events --follow --topic job.completed --topic worker"""


@click.command(epilog=EXAMPLES)
@click.option("--follow", is_flag=True, help="Go on with what happens, until Ctrl-C; with --json one event a line.")
@click.option("--since", metavar="TIME", help="Begin so long ago: 30s, 10m, 2h.  [1h; with --follow: now]")
@click.option("--topic", "topics", multiple=True, help="Only these: job.completed, worker; may be given often.")
@click.option("--pool", help="Pool, else the key's own.")
@asking
def events(asking: Asking, *, follow: bool, since: str | None, topics: tuple[str, ...], pool: str | None) -> None:
    """Show what happens."""
    cursor = cursor_at(since or "1h") if since or not follow else None

    async def told(hub: Hub) -> None:
        await hub.version()  # a hub that is slow to connect mustn't look quiet
        stream = hub.events(pool=pool, topics=topics, cursor=cursor, on_outage=outage)
        async with aclosing(stream):
            if follow:
                await print_all(stream, as_json=asking.as_json)
            else:
                print_found(await until_quiet(stream), as_json=asking.as_json)

    asking.run(told)


async def print_all(stream: AsyncIterator[Event], *, as_json: bool) -> None:
    """One line an event, at once."""
    async for event in stream:
        print(msgspec.json.encode(event).decode() if as_json else line(event), flush=True)


async def until_quiet(stream: AsyncIterator[Event]) -> list[Event]:
    """What comes before nothing more does."""
    found: list[Event] = []
    try:
        while True:
            async with asyncio.timeout(QUIET_S):
                found.append(await anext(stream))
    except TimeoutError:
        return found


def print_found(found: list[Event], *, as_json: bool) -> None:
    """All of them."""
    if as_json:
        print_json({"items": found})
        return
    for event in found:
        print(line(event))
    if not found:
        click.echo("nothing happened in that time", err=True)


def line(event: Event) -> str:
    """An event for people."""
    about = " ".join(filter(None, (event.job_id, event.worker_id, event.agent_id)))
    facts = msgspec.json.encode(event.data).decode() if event.data else ""
    return plain(f"{time_of_day(event.at_ms)}  {event.type:<18}  {about}  {facts}".rstrip())


def outage(error: Unavailable) -> None:
    """Say so on standard error."""
    click.echo(f"waiting for the hub: {error.detail}", err=True)


def cursor_at(since: str) -> str:
    """The cursor of a moment that long ago. Raises: UsageError."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", since)
    if not found:
        raise usage(f"--since: expected a time such as 30s, 10m, 2h or 1d, got {since!r}")
    return f"{max(0, time.time_ns() // 1_000_000 - int(found[1]) * UNITS_S[found[2]] * 1000)}-0"
