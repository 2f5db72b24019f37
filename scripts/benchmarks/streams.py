"""1,000 monitors of one hub process, 1,000 events a second: are all told everything, how late, at which memory.

A hub of its own over a store of its own; the monitors live in a process of their own, and some of them hardly read.
Every event says when it happened; the delay is that of a sample of the monitors. Needs nothing running.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import psutil
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from shared.store.keys import pool_key
from tests.support.stores import running_server

KEY = "bench"
JOB_ID = "default-01K00000000000000000000000"
#: of the monitors, one in so many measures delays
SAMPLED = 20
CONNECTING_AT_ONCE = 50
#: events are written so often a second
WRITES = 100
#: what a slow monitor's machine takes in advance
SLOW_BUFFER_BYTES = 16_384
#: how long the last events may take
TAIL_S = 5.0
START_S = 30.0

_AT_MS = re.compile(rb'"at_ms":(\d+)')
_EVENT = b'"at_ms":'


@contextmanager
def running_hub(store_url: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A hub's address and process."""
    environment = {**os.environ, "REDIS_URL": store_url, "WS_AUTH_TOKEN": KEY}
    place = ["--data-dir", str(folder), "--host", "127.0.0.1", "--port", "0"]
    with (folder.parent / "hub.log").open("wb") as log:
        hub = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "serve", *place], env=environment, stdout=log, stderr=log
        )
    try:
        end_s = time.monotonic() + START_S
        while not (folder / "hub.json").exists():
            if time.monotonic() > end_s or hub.poll() is not None:
                raise SystemExit((folder.parent / "hub.log").read_text())
            time.sleep(0.05)
        yield json.loads((folder / "hub.json").read_text())["url"], psutil.Process(hub.pid)
    finally:
        hub.terminate()
        hub.wait()


class Told:
    """What one monitor was told."""

    def __init__(self) -> None:
        self.events = 0
        self.lagged = 0
        self.is_closed = False
        self.delays_ms: list[int] = []


async def opened(url: str, *, is_slow: bool) -> ClientConnection:
    """A monitor's connection, subscribed."""
    plain = socket.socket()
    if is_slow:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
    plain.setblocking(False)
    host, port = url.rsplit("/", 1)[1].split(":")
    await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    monitor = await connect(
        url.replace("http", "ws") + "/v1/ws",
        sock=plain,
        additional_headers={"Authorization": f"Bearer {KEY}"},
        compression=None,
        max_size=None,
        max_queue=1 if is_slow else 16,
        proxy=None,
        ping_interval=None,
    )
    await monitor.send(json.dumps({"type": "subscribe", "snapshot": []}))
    await monitor.recv()
    return monitor


async def read(monitor: ClientConnection, told: Told, *, is_sampled: bool) -> None:
    """Count what comes, for ever."""
    with suppress(ConnectionClosed):
        while True:
            frame = await monitor.recv(decode=False)
            told.events += frame.count(_EVENT)
            if is_sampled:
                now_ms = time.time_ns() // 1_000_000
                told.delays_ms += [now_ms - int(at_ms) for at_ms in _AT_MS.findall(frame)]
            if frame.startswith(b'{"type":"lagged"'):
                told.lagged += 1
    told.is_closed = True


async def monitors_side(options: argparse.Namespace) -> None:
    """The process of the monitors: prints a line when all are there, and the figures when it is told to end."""
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def one(number: int) -> ClientConnection:
        async with gate:
            return await opened(options.url, is_slow=number < options.slow)

    sockets = await asyncio.gather(*(one(number) for number in range(options.monitors + options.slow)))
    tolds = [Told() for _ in sockets]
    readers = [
        asyncio.create_task(read(monitor, told, is_sampled=number % SAMPLED == 0))
        for number, (monitor, told) in enumerate(zip(sockets, tolds, strict=True))
        if number >= options.slow
    ]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    fast = tolds[options.slow :]
    delays_ms = sorted(delay for told in fast for delay in told.delays_ms)
    # now the slow ones read what they were sent
    readers += [
        asyncio.create_task(read(*one, is_sampled=False))
        for one in zip(sockets[: options.slow], tolds[: options.slow], strict=True)
    ]
    await asyncio.sleep(TAIL_S)
    figures = {
        "delivered": sum(told.events for told in fast),
        "fewest": min(told.events for told in fast),
        "most": max(told.events for told in fast),
        "lagged": sum(told.lagged for told in fast),
        "closed": sum(told.is_closed for told in fast),
        "p50_ms": delays_ms[len(delays_ms) // 2] if delays_ms else None,
        "p99_ms": delays_ms[len(delays_ms) * 99 // 100] if delays_ms else None,
        "worst_ms": delays_ms[-1] if delays_ms else None,
        "slow_told": sum(bool(told.lagged or told.is_closed) for told in tolds[: options.slow]),
    }
    print(json.dumps(figures), flush=True)
    for task in readers:
        task.cancel()
    os._exit(0)  # a thousand closing handshakes measure nothing


async def produce(store_url: str, rate: int, seconds: float) -> int:
    """Write events at this pace; how many."""
    client = Redis.from_url(store_url)
    key, begun_s, written = pool_key("default", "events"), time.perf_counter(), 0
    while (gone_s := time.perf_counter() - begun_s) < seconds:
        due = int(gone_s * rate) - written
        pipe = client.pipeline(transaction=False)
        for number in range(written, written + due):
            at_ms = str(time.time_ns() // 1_000_000)
            data = f'{{"value":{number % 100 / 100},"message":"step {number % 100} of 100"}}'
            about: dict[Any, Any] = {"job_id": JOB_ID, "worker_id": "gpu-7", "fence": "1", "data": data}
            pipe.xadd(key, {"type": "job.progress", "at_ms": at_ms, **about}, maxlen=100_000)
        await pipe.execute()
        written += due
        await asyncio.sleep(1 / WRITES)
    await client.aclose()
    return written


def run(options: argparse.Namespace) -> dict[str, Any]:
    """One trial."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(options.store) as store,
        running_hub(store.url, Path(folder) / "hub") as (url, hub),
    ):
        before_mib = mib(hub)
        sizes = ["--monitors", str(options.monitors), "--slow", str(options.slow)]
        side = subprocess.Popen(
            [sys.executable, __file__, "--url", url, *sizes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        orders, answers = cast("IO[str]", side.stdin), cast("IO[str]", side.stdout)
        try:
            answers.readline()
            idle_mib = mib(hub)
            cpu_s, begun_s = sum(hub.cpu_times()[:2]), time.perf_counter()
            written = asyncio.run(produce(store.url, options.rate, options.seconds))
            took_s = time.perf_counter() - begun_s
            cpu_s, busy_mib = sum(hub.cpu_times()[:2]) - cpu_s, mib(hub)
            time.sleep(2)
            print(file=orders, flush=True)
            figures = json.loads(answers.readline())
        finally:
            side.kill()
            side.wait()
    return {
        "monitors": options.monitors,
        "slow": options.slow,
        "events_per_s": written / took_s,
        "delivered_per_s": figures.pop("delivered") / took_s,
        "missing": written - figures["fewest"],
        **figures,
        "hub_cores": cpu_s / took_s,
        "hub_mib_before": before_mib,
        "hub_mib_subscribed": idle_mib,
        "hub_mib_busy": busy_mib,
        "kib_per_monitor": (busy_mib - before_mib) * 1024 / (options.monitors + options.slow),
    }


def mib(process: psutil.Process) -> float:
    """Resident memory."""
    return float(process.memory_info().rss) / (1 << 20)


def main() -> int:
    """The exit code: 1 when a monitor that reads missed an event."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitors", type=int, default=1_000)
    parser.add_argument("--slow", type=int, default=20, help="monitors that don't read until the end, beside them")
    parser.add_argument("--rate", type=int, default=1_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--store", default="valkey", choices=("valkey", "redis7"))
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        asyncio.run(monitors_side(options))
    row = run(options)
    table = Table("figure", "value", title="one hub process, its monitors in another")
    for name, value in row.items():
        table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(row, indent=1))
    return int(row["missing"] > 0)


if __name__ == "__main__":
    sys.exit(main())
