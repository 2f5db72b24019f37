"""Settings read anew while the agent runs. Running jobs aren't touched.

- All or nothing: settings with a fault, or workers that couldn't be registered, leave everything as it was.
- What the workers register, and where services are, changes live; the rest is named, with the remedy: a restart.
- A service whose settings are as they were keeps its connector: it knows which of its jobs run.
- A connector made here and replaced is closed when no job runs on its service, at the latest with the agent. Those that
  the agent began with are closed by who made them.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from agent.assembly import describe_by
from agent.config import AgentConfig
from agent.connectors.base import Connector
from agent.crew import Crew
from agent.detect import Machine
from agent.loop import Loop
from agent.plan import Instance
from agent.services import crew_of
from shared.config_fields import fields_of
from shared.errors import Misconfigured
from shared.log import get

__all__ = ["Reload"]

#: settings that change live
LIVE = frozenset({"labels", "capability", "accepts", "worker_type", "services", "connectors_dir", "http", "plugins"})
#: services of the product whose settings begin with their word, and change live
LIVE_SERVICES = ("comfyui", "a1111", "openai", "command")
RESTART = "restart the agent to let it take effect; a drain before that lets running jobs end"

log = get(__name__)


@dataclass(kw_only=True)
class Reload:
    """Reads the settings anew, and takes up what it can."""

    #: as they are in effect
    config: AgentConfig
    #: reads them; raises Misconfigured with all faults
    read: Callable[[], AgentConfig]
    loop: Loop
    #: as it is at work
    crew: Crew
    machine: Callable[[], Machine]
    environ: Mapping[str, str]
    #: made here, and open
    _own: list[Connector] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> dict[str, Any]:
        """`{"changed": ["labels"], "needs_restart": ["pools"], "remedy": "restart ..."}`.

        Raises:
            Misconfigured: all faults; nothing has changed.
        """
        async with self._turn:
            try:
                changed, fixed = await self._run()
            except Misconfigured as fault:
                log.error("config.refused", error=fault.detail, remedy="the settings before stay in effect")  # noqa: TRY400 - the trace says no more
                raise
        log.info("config.reloaded", changed=changed)
        if fixed:
            log.warning("config.needs_restart", settings=fixed, remedy=RESTART)
        return {"changed": changed, "needs_restart": fixed, "remedy": RESTART if fixed else None}

    async def close(self) -> None:
        """Close what was made here, whatever runs on it."""
        await _close(self._own)

    async def _run(self) -> tuple[list[str], list[str]]:
        wanted = await asyncio.to_thread(self.read)
        changed = [key for key in _keys() if getattr(wanted, key) != getattr(self.config, key)]
        live = [key for key in changed if is_live(key)]
        await self._take_up(replace(self.config, **{key: getattr(wanted, key) for key in live}))
        return live, [key for key in changed if not is_live(key)]

    async def _take_up(self, config: AgentConfig) -> None:
        gpu_count = len(self.machine().gpus)
        made = crew_of(config, self.environ, gpu_count=gpu_count, agent_id=self.crew.plan.agent_id)
        kept = {one: self.crew.connectors[one] for one in made.connectors if self._is_kept(one, made, config)}
        crew = Crew(plan=made.plan, connectors={**made.connectors, **kept})
        try:
            await self._offer(config, crew)
        except Misconfigured:
            self._use(self.config, self.crew)
            await _close(list(made.connectors.values()))
            raise
        self.config, self.crew = config, crew
        self._own += [connector for one, connector in made.connectors.items() if one not in kept]
        await _close([made.connectors[one] for one in kept])
        await self._close_retired()

    async def _offer(self, config: AgentConfig, crew: Crew) -> None:
        """Let the workers register what is true with these connectors."""
        has_changed = self._use(config, crew)
        if await self.loop.parts.offers.survey() or has_changed:
            self.loop.register_again()

    def _use(self, config: AgentConfig, crew: Crew) -> bool:
        """Let jobs run on these connectors; True: the workers are no longer as they were. Raises: Misconfigured."""
        has_changed = self.loop.parts.offers.change(crew, describe_by(config, self.machine, crew.plan))
        self.loop.parts.attempts.use(crew.connector)
        return has_changed

    def _is_kept(self, instance: Instance, made: Crew, config: AgentConfig) -> bool:
        """Is its connector as it would be made anew? One of `[[http]]` is made anew: its secrets aren't settings."""
        service, before = instance.service, self.crew.plan.users
        is_same = service_settings(self.config, service) == service_settings(config, service)
        serves_as_many = instance in self.crew.connectors and before[instance] == made.plan.users[instance]
        return is_same and serves_as_many and all(one.service != service for one in config.http)

    async def _close_retired(self) -> None:
        busy = {under_way.claimed.spec.get("service") for under_way in self.loop.parts.attempts.under_way.values()}
        used = {id(connector) for connector in self.crew.connectors.values()}
        done = [one for one in self._own if id(one) not in used and one.service not in busy]
        self._own = [one for one in self._own if one not in done]
        await _close(done)


def is_live(key: str) -> bool:
    """Does a change of this setting take effect without a restart?"""
    return key in LIVE or any(_is_of(key, service) for service in LIVE_SERVICES)


def service_settings(config: AgentConfig, service: str) -> dict[str, Any]:
    """What a service's connectors are made from, beside where its instances are and how many workers use them."""
    elsewhere = {f"{service}_url", f"{service}_concurrency"}
    own = {key: getattr(config, key) for key in _keys() if _is_of(key, service) and key not in elsewhere}
    return own | {"plugins": config.plugins.get(service), "connectors_dir": config.connectors_dir}


def _is_of(key: str, service: str) -> bool:
    return key == service or key.startswith(f"{service}_")


def _keys() -> Iterator[str]:
    return (one.key for one in fields_of(AgentConfig))


async def _close(connectors: Sequence[Connector]) -> None:
    await asyncio.gather(*(connector.close() for connector in connectors))
