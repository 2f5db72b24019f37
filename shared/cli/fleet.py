"""`muster agents`, `workers`: the machines and what they have."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import click

from shared.cli.options import Asking, asking
from shared.cli.output import age, print_json, print_table
from shared.wire.views import AgentView, WorkerView

__all__ = ["agents", "gpu_of", "workers"]

T = TypeVar("T")


@click.command(epilog="\b\nExamples:\n  muster agents\n  muster agents --json")
@click.option("--pool", help="Pool, else the key's own.")
@asking
def agents(asking: Asking, *, pool: str | None) -> None:
    """List the machines."""
    found = asking.run(lambda hub: collected(hub.fleet.agents(pool)))
    if asking.as_json:
        print_json({"items": found})
        return
    columns = ("id", "state", "host", "version", "platform", "seen", "workers")
    print_table(columns, map(agent_row, found), empty="no agent is registered; `muster-agent run` on a machine adds it")


@click.command(epilog="\b\nExamples:\n  muster workers\n  muster workers --json")
@click.option("--pool", help="Pool, else the key's own.")
@asking
def workers(asking: Asking, *, pool: str | None) -> None:
    """List the workers and what they have."""
    found = asking.run(lambda hub: collected(hub.fleet.workers(pool)))
    if asking.as_json:
        print_json({"items": found})
        return
    columns = ("id", "state", "services", "gpu", "job", "remark")
    print_table(columns, map(worker_row, found), empty="no worker is registered; `muster-agent run` adds a machine's")


async def collected(items: AsyncIterator[T]) -> list[T]:
    """All of them."""
    return [item async for item in items]


def agent_row(one: AgentView) -> tuple[object, ...]:
    """An agent in the table."""
    return (one.id, one.state, one.hostname, one.version, one.platform, age(one.seen_at_ms), ", ".join(one.workers))


def worker_row(one: WorkerView) -> tuple[object, ...]:
    """A worker in the table."""
    services = ", ".join(map(str, one.capability.get("services", ())))
    remark = "; ".join(f"{service}: {reason}" for service, reason in one.suspended.items())
    return (one.id, one.state, services, gpu_of(one.capability), one.job_id, remark)


def gpu_of(capability: dict[str, Any]) -> str:
    """A worker's GPUs in a few words: `NVIDIA GeForce RTX 4090, 24 GB`; `none` when it has none."""
    gpu = capability.get("gpu")
    if not isinstance(gpu, dict) or not gpu.get("count", 1):
        return "none"
    count = f"{gpu['count']} x " if gpu.get("count", 1) != 1 else ""
    memory = f", {gpu['memory_gb']:g} GB" if isinstance(gpu.get("memory_gb"), int | float) else ""
    return f"{count}{gpu.get('model', 'GPU')}{memory}"
