"""A hub's application over a real store, spoken to as HTTP, without a listener."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2

from hub.app import create_app
from hub.assembly import opened_parts
from hub.config import HubConfig
from hub.listener import Listener, bound_sockets, url_of
from hub.parts import HubParts
from shared.clock import SystemClock
from shared.store import library
from shared.store.credentials import CredentialKind, Grant
from shared.store.workers import Workers
from shared.wire.access import Scope
from shared.wire.worker import AgentFacts, Claimed, WorkerFacts

__all__ = ["ROOT", "HubUnderTest", "bearer", "hub_listening", "hub_over", "job_of"]

#: the hub's `WS_AUTH_TOKEN`
ROOT = "root-secret"


@dataclass(frozen=True)
class HubUnderTest:
    """A hub and the means to ask it and to play its agents."""

    parts: HubParts
    #: asks with all rights
    client: httpx2.AsyncClient
    #: asks without a key
    stranger: httpx2.AsyncClient
    workers: Workers

    async def key(self, *scopes: Scope, pools: list[str] | None = None) -> dict[str, str]:
        """Headers with a new key of these scopes."""
        _, secret = await self.parts.credentials.create(CredentialKind.KEY, "test", Grant(scopes=scopes, pools=pools))
        return bearer(secret)

    async def token(self, pools: list[str] | None = None) -> dict[str, str]:
        """Headers with a new enrolment token."""
        scopes = [Scope.AGENTS_ENROLL]
        _, secret = await self.parts.credentials.create(CredentialKind.TOKEN, "test", Grant(scopes=scopes, pools=pools))
        return bearer(secret)

    async def enrolled(self, agent_id: str, pool: str = "default", **capability: Any) -> dict[str, str]:
        """Enrol an agent and register its one worker, named like it; headers with its identity."""
        asked = {"agent_id": agent_id, "hostname": "h", "pools": [pool]}
        answer = await self.client.post("/v1/agents/enroll", json=asked)
        facts = AgentFacts(agent_id, hostname="h", version="1", platform="linux-x86_64", pid=1, started_at_ms=1)
        worker = WorkerFacts(agent_id, {"services": ["simulation"], **capability})
        await self.workers.register(pool, facts, [worker])
        return bearer(answer.json()["key"])

    async def claimed(self, agent_id: str, pool: str = "default") -> Claimed:
        """The job that the agent's worker gets now."""
        claimed = (await self.workers.claim_each(pool, [agent_id]))[agent_id]
        assert isinstance(claimed, Claimed), "there is a job for it"
        return claimed

    async def submitted(self, **fields: Any) -> dict[str, Any]:
        """A new job as the hub answers it."""
        answer = await self.client.post("/v1/jobs", json=job_of(**fields))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@asynccontextmanager
async def hub_over(store_url: str, data_dir: Path, **settings: Any) -> AsyncIterator[HubUnderTest]:
    """A hub whose data directory is `data_dir`, over the store at `store_url`, functions installed; no listener."""
    config = config_of(store_url, data_dir, **settings)
    async with prepared_parts(config) as parts:
        workers = Workers(parts.store)
        transport = httpx2.ASGITransport(app=cast("Any", create_app(parts)), raise_app_exceptions=False)
        try:
            async with _client(transport, bearer(ROOT)) as client, _client(transport, {}) as stranger:
                yield HubUnderTest(parts, client, stranger, workers)
        finally:
            await workers.close()


@asynccontextmanager
async def hub_listening(store_url: str, data_dir: Path, **settings: Any) -> AsyncIterator[HubUnderTest]:
    """The same behind a real listener on a free loopback port: for answers that stream, and for its end."""
    config = config_of(store_url, data_dir, **{"host": "127.0.0.1", "port": 0, **settings})
    ready = asyncio.Event()
    async with prepared_parts(config) as parts:
        listener = Listener(create_app(parts), config, on_ready=ready.set, on_stop=parts.stop)
        sockets = bound_sockets(config)
        base_url = url_of(sockets[0], tls=False)
        workers = Workers(parts.store)
        serving = asyncio.create_task(listener.serve(sockets))
        try:
            await ready.wait()
            async with _listening_client(base_url, bearer(ROOT)) as client, _listening_client(base_url, {}) as stranger:
                yield HubUnderTest(parts, client, stranger, workers)
        finally:
            listener.stop()
            await serving
            await workers.close()


@asynccontextmanager
async def prepared_parts(config: HubConfig) -> AsyncIterator[HubParts]:
    """The parts over a store that has the functions."""
    async with opened_parts(config, config.redis_url, SystemClock()) as parts:
        await library.install(parts.store)
        yield parts


def config_of(store_url: str, data_dir: Path, **settings: Any) -> HubConfig:
    """A test hub's settings."""
    return HubConfig(redis_url=store_url, data_dir=data_dir, **{"ws_auth_token": ROOT, **settings})


def bearer(secret: str) -> dict[str, str]:
    """Headers with this secret."""
    return {"Authorization": f"Bearer {secret}"}


def job_of(service: str = "simulation", **fields: Any) -> dict[str, Any]:
    """A job's document."""
    return {"service": service, **fields}


def _client(transport: httpx2.ASGITransport, headers: dict[str, str]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=transport, base_url="http://hub.test", headers=headers)


def _listening_client(base_url: str, headers: dict[str, str]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=base_url, headers=headers, trust_env=False)
