"""Each service: its health, and a real tiny job through the connector that jobs take.

- A service that nobody named and that isn't there is no news.
- A service that a running agent has a job on gets none from here: some take one call at a time.
"""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agent.config import AgentConfig
from agent.connectors.base import Assignment, Connector, ServiceFault
from agent.connectors.command import CommandConnector
from agent.crew import Crew
from agent.detect import agent_name, detect
from agent.doctor.finding import Finding, Subject, failed, fine, warned
from agent.offers import probed
from agent.plan import Instance
from agent.server_urls import shown
from agent.services import crew_of
from shared.wire.job import Progress
from shared.wire.payloads import check_payload
from shared.wire.states import FailureClass

__all__ = ["SERVICES_LIMIT_S", "TINY_JOBS", "look_at_services"]

#: for a health check, a tiny job, and its cancel where it doesn't end (`CANCEL_GRACE_S`), in seconds
HEALTH_S = 10.0
JOB_S = 18.0
SERVICES_LIMIT_S = 56.0

#: classes that say that the tiny job doesn't suit the service, rather than that it is broken
UNSUITED = frozenset({FailureClass.BAD_INPUT, FailureClass.REFUSED, FailureClass.UNFIT})


def _comfyui() -> dict[str, Any]:
    # another colour each time: from its cache the server would answer with a file that may be gone
    image = {"width": 16, "height": 16, "batch_size": 1, "color": secrets.randbelow(1 << 24)}
    return {
        "prompt": {
            "1": {"class_type": "EmptyImage", "inputs": image},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
    }


#: service → makes the payload of a job that costs next to nothing
TINY_JOBS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "simulation": lambda: {"duration_s": 0, "steps": 1},
    "comfyui": _comfyui,
    "a1111": lambda: {"endpoint": "txt2img", "prompt": "a dot", "steps": 1, "width": 64, "height": 64},
    "openai": lambda: {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1},
    "command": lambda: {"program": shutil.which("true") or "/bin/true"},
}


async def look_at_services(subject: Subject) -> list[Finding]:
    """Each service that is named, or is there."""
    machine = await detect(subject.config, environ=subject.environ)
    name = agent_name(machine, subject.config)
    crew = crew_of(subject.config, subject.environ, gpu_count=len(machine.gpus), agent_id=name)
    try:
        found = await asyncio.gather(*(_look_at(instance, crew, subject) for instance in crew.connectors))
    finally:
        await asyncio.gather(*(connector.close() for connector in crew.connectors.values()))
    there = [one for one in found if one is not None]
    if not there:
        seen = "none was found where it usually is"
        return [failed("services", seen, "start one, or say where it is (COMFYUI_URL, ...) and name it in SERVICES")]
    return there


async def _look_at(instance: Instance, crew: Crew, subject: Subject) -> Finding | None:
    """One instance of a service; None: nobody named it, and it isn't there."""
    connector = crew.connectors[instance]
    is_one_of_many = sum(one.service == instance.service for one in crew.connectors) > 1
    check = f"service.{connector.service}" + (f" at {shown(instance.url)}" if is_one_of_many else "")
    state = await probed(connector, HEALTH_S)
    if not state.healthy:
        reason = state.reason or "its health check fails"
        is_named = instance in crew.plan.named or _is_configured(instance.service, subject.config)
        return failed(check, reason, _start(connector.service)) if is_named else None
    if connector.service in subject.busy_services:
        return fine(check, "healthy; works on a job now, so it got no tiny one")
    if connector.service not in TINY_JOBS:
        return fine(check, "healthy; whether jobs run isn't tried for this service")
    runner = CommandConnector([TINY_JOBS["command"]()["program"]], subject.environ)
    return await _tried(check, runner if connector.service == "command" else connector)


async def _tried(check: str, connector: Connector) -> Finding:
    """Does a tiny job run?"""
    started_s = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(JOB_S):
            await _in_a_folder(lambda folder: connector.run(_assignment(connector.service, folder), _unheard))
    except TimeoutError:
        seen = f"healthy, but a tiny job took over {JOB_S:g} s and was stopped"
        return warned(check, seen, "if it was loading a model, look again; else restart the service")
    except ServiceFault as fault:
        seen = f"healthy, but a tiny job failed as {fault.failure_class}: {fault.message}"
        if fault.failure_class in UNSUITED:
            return warned(check, seen, "the service may want another kind of job; try one of yours")
        return failed(check, seen, f"see the log of the service; {_start(connector.service)}")
    return fine(check, f"a tiny job ran in {asyncio.get_running_loop().time() - started_s:.2f} s")


async def _in_a_folder(work: Callable[[Path], Awaitable[Any]]) -> None:
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="muster-doctor-"))
    try:
        await work(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _assignment(service: str, folder: Path) -> Assignment:
    return Assignment(
        job_id=f"doctor-{secrets.token_hex(8)}",
        fence=1,
        service=service,
        payload=check_payload(service, TINY_JOBS[service](), ()),
        output_dir=folder,
    )


def _unheard(_: Progress) -> None:
    """Nobody watches."""


def _is_configured(service: str, config: AgentConfig) -> bool:
    """Has it a table of its own?"""
    return service in config.plugins or any(one.service == service for one in config.http)


def _start(service: str) -> str:
    setting = f"{service.upper()}_URL"
    if service in {"comfyui", "a1111", "openai"}:
        return f"start it, or mend {setting}; name only services that are here in SERVICES"
    if service == "command":
        return "allow programs that are installed ([command] allow in agent.toml)"
    return "start it, or mend its table in agent.toml"
