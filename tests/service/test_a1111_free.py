"""The memory of an A1111 server is freed between two calls, as far as the server can do that."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.connectors.a1111 import A1111Connector, A1111Times
from agent.connectors.base import Assignment, FreesMemory, ServiceFault
from shared.wire.payloads import check_payload
from shared.wire.states import FailureClass
from tests.support.a1111_standin import A1111Standin
from tests.support.asgi_server import served
from tests.support.waiting import wait_until

FREEING = ["POST /sdapi/v1/unload-checkpoint", "POST /sdapi/v1/reload-checkpoint"]
TIMES = A1111Times(connect_s=2, read_s=2, progress_s=0.01, cancel_grace_s=5, cancel_poll_s=0.01)


@pytest.fixture
def standin() -> A1111Standin:
    return A1111Standin()


@pytest.fixture
async def connector(standin: A1111Standin) -> AsyncIterator[A1111Connector]:
    async with served(standin) as url:
        connector = A1111Connector(url, None, TIMES)
        yield connector
        standin.release()
        await connector.close()


async def test_the_model_goes_and_comes_back(connector: A1111Connector, standin: A1111Standin) -> None:
    assert isinstance(connector, FreesMemory)
    await connector.free()
    assert standin.calls == FREEING


async def test_it_waits_for_the_call_that_runs(
    connector: A1111Connector, standin: A1111Standin, tmp_path: Path
) -> None:
    standin.held = True
    payload = check_payload("a1111", {"endpoint": "txt2img", "prompt": "a cat"}, [])
    job = Assignment(job_id="default-1", fence=1, service="a1111", payload=payload, output_dir=tmp_path)
    running = asyncio.create_task(connector.run(job, lambda _: None))
    await wait_until(lambda: standin.active, 5, "the call runs")
    freeing = asyncio.create_task(connector.free())
    looks = len(standin.calls)
    await wait_until(lambda: len(standin.calls) > looks + 3, 5, "the server is looked at")
    assert not set(FREEING) & set(standin.calls)
    standin.release()
    await asyncio.gather(running, freeing)
    assert standin.calls[-2:] == FREEING


async def test_a_server_that_cannot_free_memory_keeps_it(connector: A1111Connector, standin: A1111Standin) -> None:
    standin.kind = "sd-server"
    await connector.free()


async def test_a_server_that_fails_to_free_memory_gets_no_job(connector: A1111Connector, standin: A1111Standin) -> None:
    standin.broken = {"/sdapi/v1/unload-checkpoint": (500, {"error": "RuntimeError"})}
    with pytest.raises(ServiceFault) as caught:
        await connector.free()
    assert caught.value.failure_class is FailureClass.SERVICE
