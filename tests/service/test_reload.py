"""Settings that change under a running agent: what is taken up, what is kept, and that jobs go on."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from agent.config import AgentConfig
from agent.detect import Machine
from agent.http_settings import HttpService
from agent.plan import Instance
from agent.reload import Reload
from shared.errors import Misconfigured
from tests.support.running_agent import Surroundings

NOWHERE = "http://127.0.0.1:9"
SIMULATION = Instance("simulation")


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


@asynccontextmanager
async def reloading(around: Surroundings) -> AsyncIterator[Callable[..., Reload]]:
    """A running agent; the function says how its settings are to be."""
    async with around.agent() as agent:
        config = AgentConfig(services=["simulation"])
        reload = Reload(
            config=config,
            read=lambda: config,
            loop=agent.loop,
            crew=agent.loop.parts.offers._crew,
            machine=lambda: Machine(hostname="h", capability={"ram_gb": 8.0}),
            environ={"HOME": str(around.state_dir), "XDG_STATE_HOME": str(around.state_dir)},
        )

        def set_to(**settings: Any) -> Reload:
            reload.read = lambda: replace(config, **settings)
            return reload

        yield set_to
        await reload.close()


def registered(around: Surroundings) -> dict[str, Any]:
    return dict(around.broker.workers["box"].capability)


async def test_labels_are_registered_anew_and_a_running_job_goes_on_where_it_was(around: Surroundings) -> None:
    job = around.broker.submit(duration_s=50, steps=50)
    async with reloading(around) as set_to:
        await around.until(lambda: job.state == "active", "it runs")
        reload = set_to(labels={"rack": "7"})
        before = reload.crew.connectors[SIMULATION]
        assert await reload.run() == {"changed": ["labels"], "needs_restart": [], "remedy": None}
        await around.until(lambda: registered(around).get("labels") == {"rack": "7"}, "it is registered")
        assert reload.crew.connectors[SIMULATION] is before, "it knows the job"
        await around.until(lambda: job.state == "completed", "it ends")
    assert job.fence == 1


async def test_settings_as_they_were_change_nothing(around: Surroundings) -> None:
    async with reloading(around) as set_to:
        count = around.broker.count("register")
        assert (await set_to().run())["changed"] == []
        await around.time.until(lambda: True, "time passes")
        assert around.broker.count("register") <= max(count, 1)


async def test_a_service_that_is_added_is_offered_and_one_that_is_taken_out_finishes_its_job(
    around: Surroundings,
) -> None:
    job = around.broker.submit(duration_s=50, steps=50)
    async with reloading(around) as set_to:
        await around.until(lambda: job.state == "active", "it runs")
        answer = await set_to(services=["openai"], openai_url=NOWHERE).run()
        assert answer["changed"] == ["services", "openai_url"]
        await around.until(lambda: registered(around)["services"] == [], "the one is no longer offered")
        assert "openai" in around.broker.workers["box"].suspended, "the other is named, and down"
        await around.until(lambda: job.state == "completed", "the job ends all the same")


async def test_a_service_that_moved_gets_a_new_connector_and_the_old_one_is_closed(around: Surroundings) -> None:
    async with reloading(around) as set_to:
        reload = set_to(services=["openai"], openai_url=NOWHERE)
        await reload.run()
        (old,) = reload.crew.connectors.values()
        moved = set_to(services=["openai"], openai_url="http://127.0.0.1:10")
        await moved.run()
        (new,) = reload.crew.connectors.values()
        assert new is not old
        assert reload._own == [new], "what is no longer used is closed"


async def test_an_instance_that_is_still_used_keeps_its_connector_when_others_come(around: Surroundings) -> None:
    async with reloading(around) as set_to:
        reload = set_to(services=["openai"], openai_url=NOWHERE)
        await reload.run()
        before = dict(reload.crew.connectors)
        assert (await set_to(services=["openai"], openai_url=f"{NOWHERE},http://127.0.0.1:10").run())["changed"]
        assert reload.crew.connectors == before


async def test_one_over_http_is_made_anew_each_time_as_its_secrets_are_no_settings(around: Surroundings) -> None:
    table = HttpService(service="mesh", url=NOWHERE)
    async with reloading(around) as set_to:
        reload = set_to(services=["mesh"], http=[table])
        await reload.run()
        before = dict(reload.crew.connectors)
        await reload.run()
        assert reload.crew.connectors.keys() == before.keys()
        assert reload.crew.connectors != before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"services": ["comfyi"]}, "comfyui"),
        ({"capability": {"gpu": {"memory_gb": float("nan")}}}, "box"),
        ({"accepts": {"service": {"nonsense": 1}}}, "nonsense"),
        ({"http": [HttpService(service="simulation", url=NOWHERE)]}, "built in"),
    ],
)
async def test_settings_that_cannot_be_leave_everything_as_it_was(
    around: Surroundings, settings: dict[str, Any], said: str
) -> None:
    async with reloading(around) as set_to:
        await around.until(lambda: around.broker.workers, "it is registered")
        reload = set_to(labels={"rack": "7"}, **settings)
        crew, workers = reload.crew, reload.loop.parts.offers.workers
        with capture_logs() as logs, pytest.raises(Misconfigured, match=said):
            await reload.run()
        assert "config.refused" in {one["event"] for one in logs}
        assert (reload.crew, reload.config.labels, reload._own) == (crew, {}, [])
        assert reload.loop.parts.offers.workers == workers
        job = around.broker.submit(duration_s=1)
        await around.until(lambda: job.state == "completed", "it works on")


async def test_what_cannot_change_live_is_named_with_the_remedy(around: Surroundings) -> None:
    async with reloading(around) as set_to:
        with capture_logs() as logs:
            answer = await set_to(pools=["eu"], worker_id="other", labels={"a": "b"}).run()
        assert (answer["changed"], answer["needs_restart"]) == (["labels"], ["worker_id", "pools"])
        (said,) = [one for one in logs if one["event"] == "config.needs_restart"]
        assert "restart" in said["remedy"]
        again = await set_to(pools=["eu"], worker_id="other", labels={"a": "b"}).run()
        assert again["needs_restart"] == ["worker_id", "pools"], "it is said until it is done"
