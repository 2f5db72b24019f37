"""Muster's whole agent with one worker: the process that an operator runs, a plug-in as its service, the spool on disk.

What the other side, `muster_side.py`, leaves out, this one does for every job: a work folder, the journal, the result
synced to disk, log lines.
"""

import os
import shutil
import sys
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from agent.identity import Identity, save_identity
from scripts.benchmarks.peers.calls import URL
from scripts.benchmarks.peers.launch import Client
from scripts.benchmarks.peers.muster_side import AGENT, POOL, client_for, new_loop
from shared.wire.access import Transport

__all__ = ["client", "new_loop", "work"]

#: an agent whose hub is away goes on with the identity it has
NO_HUB = "http://127.0.0.1:9"

#: the plug-in and its service's word
SERVICE = "entered"
CONNECTOR = """
from agent.connectors.base import Finished, ServiceState
from scripts.benchmarks.peers.calls import noop, probe


class Entered:
    service = "entered"

    async def probe(self):
        return ServiceState(healthy=True)

    async def run(self, assignment, report):
        probe(assignment.payload) if assignment.payload is not None else noop()
        return Finished()

    async def close(self):
        pass


def connector(settings):
    return Entered()
"""


def client() -> AbstractAsyncContextManager[Client]:
    """The client."""
    return client_for(SERVICE)


def work() -> None:
    """The worker: becomes the agent."""
    state = Path(tempfile.gettempdir()) / "muster-bench-agent"
    shutil.rmtree(state, ignore_errors=True)
    (state / "connectors.d").mkdir(parents=True)
    (state / "connectors.d" / f"{SERVICE}.py").write_text(CONNECTOR)
    identity = Identity(
        hub_url=NO_HUB,
        asked_pools=None,
        agent_id=AGENT,
        key="ma_none",
        transport=Transport.DIRECT,
        store_url=URL,
        pools=(POOL,),
    )
    save_identity(state, identity)
    environ = {**os.environ, "AGENT_STATE_DIR": str(state), "SERVICES": SERVICE, "GPU_COUNT": "0"}
    os.execve(sys.executable, [sys.executable, "-m", "agent.cli", "run"], environ)  # noqa: S606 (our own program)
