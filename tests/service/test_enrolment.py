"""Getting in: at a real hub, at one that is away, at one that says no."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from agent.config import AgentConfig
from agent.enrolment import Enrolment, Hubs
from agent.identity import Identity, load_identity, save_identity
from shared.client.connection import Connection
from shared.errors import Misconfigured, NotAllowed
from shared.wire.access import Scope, Transport
from tests.support.running_hub import ROOT, HubUnderTest, hub_over

URL = "http://hub.test"


@dataclass(frozen=True)
class HubsUnderTest(Hubs):
    """Connections that never leave the process."""

    transport: httpx2.AsyncBaseTransport

    def to(self, url: str, key: str | None) -> Connection:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return Connection(httpx2.AsyncClient(transport=self.transport, base_url=url, headers=headers), url)


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


def enrolment(transport: httpx2.AsyncBaseTransport, naps: list[float] | None = None, **settings: Any) -> Enrolment:
    config = AgentConfig(**{"hub_url": URL, "hub_auth_token": ROOT, **settings})

    async def nap(duration_s: float) -> None:
        [] if naps is None else naps.append(duration_s)

    hubs = HubsUnderTest(transport)
    return Enrolment(config, "Rig 7", hubs=hubs, sleep=nap, dice=random.Random(7).random)


def at(hub: HubUnderTest) -> httpx2.AsyncBaseTransport:
    return hub.stranger._transport


async def test_a_machine_is_let_in_by_a_token_and_named_by_its_hostname(hub: HubUnderTest) -> None:
    token = (await hub.token())["Authorization"].split()[1]
    identity = await enrolment(at(hub), hub_auth_token=token).identity(None)
    assert identity.agent_id.startswith("rig-7-")
    assert identity.key.startswith("ma_")
    assert (identity.transport, identity.pools) == ("direct", ("default",))
    assert (identity.store_url or "").startswith("redis://")


async def test_a_configured_id_is_the_agents_name(hub: HubUnderTest) -> None:
    assert (await enrolment(at(hub), worker_id="box").identity(None)).agent_id == "box"


async def test_a_kept_identity_is_used_again(hub: HubUnderTest) -> None:
    kept = await enrolment(at(hub)).identity(None)
    assert await enrolment(at(hub), hub_auth_token=None).identity(kept) is kept
    assert await enrolment(at(hub), hub_auth_token=None, hub_url=None).identity(kept) is kept


@pytest.mark.parametrize("change", [{"worker_id": "other"}, {"pools": ["b"]}, {"hub_url": "http://other.test"}])
async def test_another_configuration_needs_another_identity(hub: HubUnderTest, change: dict[str, Any]) -> None:
    kept = await enrolment(at(hub), worker_id="box").identity(None)
    changed = await enrolment(at(hub), **{"worker_id": "box", **change}).identity(kept)
    assert changed.key != kept.key


async def test_an_agent_that_the_hub_no_longer_knows_enrols_again_under_its_name(hub: HubUnderTest) -> None:
    kept = await enrolment(at(hub)).identity(None)
    again = await enrolment(at(hub)).identity(replace(kept, key="ma_unknown"))
    assert again.agent_id == kept.agent_id
    assert again.key not in {kept.key, "ma_unknown"}


async def test_all_pools_of_a_token_are_joined_unless_some_are_named(hub: HubUnderTest) -> None:
    token = (await hub.token(pools=["b", "a"]))["Authorization"].split()[1]
    assert (await enrolment(at(hub), hub_auth_token=token).identity(None)).pools == ("a", "b")
    assert (await enrolment(at(hub), hub_auth_token=token, pools=["b"]).identity(None)).pools == ("b",)


async def test_a_bad_token_is_never_tried_twice(hub: HubUnderTest) -> None:
    naps: list[float] = []
    with pytest.raises(NotAllowed, match="HUB_AUTH_TOKEN"):
        await enrolment(at(hub), naps, hub_auth_token="mt_bad").identity(None)
    assert naps == []


async def test_a_key_that_may_not_enrol_is_no_token(hub: HubUnderTest) -> None:
    key = (await hub.key(Scope.JOBS_SUBMIT))["Authorization"].split()[1]
    with pytest.raises(NotAllowed, match="agents:enroll"):
        await enrolment(at(hub), hub_auth_token=key).identity(None)


async def test_an_id_that_the_hub_refuses_is_a_fault_of_the_configuration(hub: HubUnderTest) -> None:
    with pytest.raises(Misconfigured, match="doesn't enrol this agent"):
        await enrolment(at(hub), worker_id="-box").identity(None)


@pytest.mark.parametrize(("missing", "named"), [("hub_url", "HUB_URL"), ("hub_auth_token", "HUB_AUTH_TOKEN")])
async def test_what_is_missing_is_named(missing: str, named: str) -> None:
    nowhere = httpx2.MockTransport(lambda _: httpx2.Response(500))
    with pytest.raises(Misconfigured, match=named):
        await enrolment(nowhere, **{missing: None}).identity(None)


async def test_something_that_is_no_hub_is_named() -> None:
    other = httpx2.MockTransport(lambda _: httpx2.Response(404, text="<html>nginx</html>"))
    with pytest.raises(Misconfigured, match="expected a Muster hub"):
        await enrolment(other).identity(None)


async def test_a_hub_that_is_away_is_waited_for(hub: HubUnderTest) -> None:
    naps: list[float] = []
    real = at(hub)

    class Flaky(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if len(naps) < 3:
                raise httpx2.ConnectError("refused")
            return httpx2.Response(503) if len(naps) < 6 else await real.handle_async_request(request)

    assert (await enrolment(Flaky(), naps, worker_id="box").identity(None)).agent_id == "box"
    assert len(naps) == 6


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx2.Response(503),
        lambda request: httpx2.Response(403, text="a proxy says no"),
        lambda request: httpx2.Response(200),
    ],
)
async def test_an_agent_with_an_identity_needs_no_hub_to_start(answer: Any) -> None:
    kept = identity()
    assert await enrolment(httpx2.MockTransport(answer)).identity(kept) is kept


def identity() -> Identity:
    return Identity(
        hub_url=URL,
        asked_pools=None,
        agent_id="box",
        key="ma_secret",
        transport=Transport.DIRECT,
        store_url="redis://h:1/0",
        pools=("default",),
    )


def test_an_identity_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    assert load_identity(tmp_path) is None
    save_identity(tmp_path, identity())
    assert load_identity(tmp_path) == identity()
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_identity_is_none(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text('{"agent_id"')
    assert load_identity(tmp_path) is None
