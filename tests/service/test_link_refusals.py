"""What a link refuses: strangers, other agents' workers, other pools, forged attempts, and what is no frame."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from shared.wire import link as wire
from shared.wire.access import Scope
from shared.wire.answers import UNREGISTERED, Finish, Finished
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Heartbeat, HeartbeatAnswer, HeldJob, WorkerFacts
from tests.support.running_hub import ROOT, HubUnderTest, hub_listening
from tests.support.waiting import wait_until
from tests.support.ways import enrolled, ws_url

POOL = "default"

encode = msgspec.msgpack.Encoder().encode


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_listening(store_url, tmp_path) as running:
        await running.parts.pools.add("other")
        yield running


@asynccontextmanager
async def linked(
    hub: HubUnderTest, key: str | None, subprotocol: str = wire.SUBPROTOCOL
) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    protocols = [Subprotocol(subprotocol)]
    async with connect(ws_url(hub), additional_headers=headers, subprotocols=protocols, proxy=None) as socket:
        yield socket


async def asked(socket: ClientConnection, ask: Any, kind: Any = None) -> Any:
    """The decoded answer, or the refusal."""
    await socket.send(encode(wire.Call(1, ask)))
    frame = msgspec.msgpack.decode(await socket.recv(decode=False), type=wire.FromHub)
    if isinstance(frame, wire.Reply):
        return msgspec.msgpack.decode(frame.answer, type=kind)
    return frame


def facts(agent_id: str) -> AgentFacts:
    return AgentFacts(agent_id, hostname="h", version="1", platform="linux", pid=1, started_at_ms=1)


def workers(*names: str) -> tuple[WorkerFacts, ...]:
    return tuple(WorkerFacts(name, {"services": ["simulation"]}) for name in names)


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("ma_unknown", 401), (ROOT, 403)])
async def test_who_is_no_agent_gets_no_link(hub: HubUnderTest, key: str | None, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with linked(hub, key):
            pass
    assert refused.value.response.status_code == status


async def test_a_key_of_all_scopes_is_no_agent(hub: HubUnderTest) -> None:
    key = (await hub.key(Scope.ADMIN))["Authorization"].split()[1]
    with pytest.raises(InvalidStatus):
        async with linked(hub, key):
            pass


async def test_another_version_of_the_frames_is_refused(hub: HubUnderTest) -> None:
    identity = await enrolled(hub, "box")
    with pytest.raises(InvalidStatus) as refused:
        async with linked(hub, identity.key, "muster.link.99"):
            pass
    assert refused.value.response.status_code == 400
    assert b"unknown_subprotocol" in (refused.value.response.body or b"")


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (wire.Register(POOL, facts("victim"), ()), "agent_not_yours"),
        (wire.Beat(POOL, Heartbeat("victim")), "agent_not_yours"),
        (wire.Register("other", facts("box"), ()), "pool_not_allowed"),
        (wire.Beat("other", Heartbeat("box")), "pool_not_allowed"),
        (wire.Deregister("other"), "pool_not_allowed"),
        (wire.Tell("other", "drain"), "pool_not_allowed"),
        (wire.Listen((POOL, "other")), "pool_not_allowed"),
        (wire.Suspended("other", ("victim",)), "pool_not_allowed"),
        (wire.Suspended(POOL, ("victim",)), "worker_not_yours"),
        (wire.Lift(POOL, "victim", "simulation"), "worker_not_yours"),
        (wire.Register(POOL, facts("box"), workers("victim")), "worker_taken"),
    ],
)
async def test_what_is_not_the_agents_is_refused_by_name(hub: HubUnderTest, ask: Any, code: str) -> None:
    await hub.enrolled("victim")
    identity = await enrolled(hub, "box")
    async with linked(hub, identity.key) as socket:
        refusal = await asked(socket, ask)
        assert isinstance(refusal, wire.Refusal)
        assert refusal.code == code


async def test_another_agents_worker_claims_nothing_and_its_jobs_are_out_of_reach(hub: HubUnderTest) -> None:
    await hub.enrolled("victim")
    job = await hub.submitted()
    held = await hub.claimed("victim")
    await hub.submitted()
    identity = await enrolled(hub, "box")
    triple = (held.job_id, held.fence, "victim")
    async with linked(hub, identity.key) as socket:
        await asked(socket, wire.Register(POOL, facts("box"), workers("box")), int)
        theft = wire.Next(POOL, (Finished(*triple, "{}"),), ("victim",))
        answer = await asked(socket, theft, wire.NextAnswer)
        assert (answer.finishes, answer.claims) == ((Finish.STALE,), (UNREGISTERED,))
        fail = wire.Fail(POOL, *triple, FailureClass.BAD_INPUT, "no")
        assert await asked(socket, fail, Finish) is Finish.STALE
        assert await asked(socket, wire.Release(POOL, *triple), Finish) is Finish.STALE
        beat = wire.Beat(POOL, Heartbeat("box", (HeldJob(*triple, progress=b'{"value":0.9}'),)))
        answer = await asked(socket, beat, HeartbeatAnswer)
        assert [verdict.word for verdict in answer.jobs] == ["lost"]
    now = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (now["state"], now["worker_id"], now["progress"]) == ("active", "victim", None)


async def test_an_attempt_with_a_forged_fence_or_worker_is_stale(hub: HubUnderTest) -> None:
    await hub.enrolled("victim")
    job = await hub.submitted()
    held = await hub.claimed("victim")
    identity = await enrolled(hub, "box")
    async with linked(hub, identity.key) as socket:
        await asked(socket, wire.Register(POOL, facts("box"), workers("box")), int)
        for fence in (held.fence, held.fence + 1, -1, 2**63 - 1):
            forged = (held.job_id, fence, "box")
            answer = await asked(socket, wire.Next(POOL, (Finished(*forged, "{}"),), ()), wire.NextAnswer)
            assert answer.finishes == (Finish.STALE,)
            assert await asked(socket, wire.Release(POOL, *forged), Finish) is Finish.STALE
        elsewhere = wire.Next("other", (Finished(held.job_id, held.fence, "box", "{}"),), ("box",))
        answer = await asked(socket, elsewhere, wire.NextAnswer)
        assert (answer.finishes, answer.claims) == ((Finish.STALE,), (UNREGISTERED,))
    now = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (now["state"], now["worker_id"]) == ("active", "victim")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1\xff\x00garbage",
        "text",
        encode({"number": 1}),
        encode({"number": 1, "ask": {"type": "flush", "pool": POOL}}),
        encode({"number": 1, "ask": {"type": "next", "pool": POOL, "finished": "x", "worker_ids": []}}),
        encode([1, 2, 3]),
    ],
)
async def test_what_is_no_frame_ends_the_link(hub: HubUnderTest, frame: bytes | str) -> None:
    identity = await enrolled(hub, "box")
    async with linked(hub, identity.key) as socket:
        await socket.send(frame)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1002
    await wait_until(lambda: len(hub.parts.links) == 0, 5, "the hub forgets the link")


async def test_a_frame_that_is_too_long_ends_the_link(hub: HubUnderTest) -> None:
    identity = await enrolled(hub, "box")
    async with linked(hub, identity.key) as socket:
        with suppress(ConnectionClosed):  # it may hear of it while it sends
            await socket.send(b"x" * (wire.MOST_BYTES_UP + 1))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009
    async with linked(hub, identity.key) as socket:
        assert await asked(socket, wire.Mute(), type(None)) is None, "the hub works on"


async def test_a_call_that_goes_wrong_costs_no_other(hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("boom")

    identity = await enrolled(hub, "box")
    async with linked(hub, identity.key) as socket:
        monkeypatch.setattr(hub.parts.links._suspensions, "lift", broken)
        await asked(socket, wire.Register(POOL, facts("box"), workers("box")), int)
        refusal = await asked(socket, wire.Lift(POOL, "box", "simulation"))
        assert (refusal.kind, refusal.code) == ("Bug", "bug")
        assert "boom" not in refusal.detail
        assert await asked(socket, wire.Suspended(POOL, ("box",)), dict[str, list[str]]) == {}


async def test_a_revoked_agent_loses_its_link(hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.link.session.IDENTITY_INTERVAL_S", 0.05)
    identity = await enrolled(hub, "box")
    async with linked(hub, identity.key) as socket:
        await asked(socket, wire.Register(POOL, facts("box"), workers("box")), int)
        await hub.parts.access.revoke_agent("box")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
