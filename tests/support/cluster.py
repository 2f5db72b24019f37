"""A Cluster of three loopback servers of one kind, gone when the block ends."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.stores import Server, free_port, running_server
from tests.support.waiting import wait_until

__all__ = ["running_cluster"]

SLOTS = 16_384
NODES = 3
AGREE_S = 20.0


@contextmanager
def running_cluster(kind: str, folder: Path) -> Iterator[list[Server]]:
    """Three primaries that share the slots and agree on it. Args: folder: for what the nodes remember."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(running_server(kind, settings=_settings(folder, n))) for n in range(NODES)]
        clients = [stack.enter_context(redis.Redis.from_url(node.url)) for node in nodes]
        for number, client in enumerate(clients):
            client.execute_command(
                "CLUSTER", "ADDSLOTSRANGE", number * SLOTS // NODES, (number + 1) * SLOTS // NODES - 1
            )
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, _bus_port(clients[0]))
        asyncio.run(wait_until(lambda: all(map(_is_whole, clients)), AGREE_S, "the nodes agree on the slots"))
        yield nodes


def _settings(folder: Path, number: int) -> dict[str, str]:
    return {
        "cluster-enabled": "yes",
        "cluster-port": str(free_port()),
        "cluster-config-file": f"node-{number}.conf",
        "dir": str(folder),
    }


def _bus_port(client: Any) -> int:
    return int(client.config_get("cluster-port")["cluster-port"])


def _is_whole(client: Any) -> bool:
    """Does the node know of all nodes, and that all slots are served?"""
    told = client.execute_command("CLUSTER", "INFO")
    facts = told if isinstance(told, dict) else dict(line.split(":") for line in told.decode().split())
    return bool(facts["cluster_state"] == "ok" and facts["cluster_known_nodes"] == str(NODES))
