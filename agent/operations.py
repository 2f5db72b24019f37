"""What operators and the cloud tell the running agent: status, drain, resume, reload, and that the machine goes.

- A drain by hand is told to the store as well, so that the fleet sees it; it holds here whether that is heard or not.
- Nothing said here ends the agent with an error.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agent.alarm import Sleep
from agent.control import Command, control_socket
from agent.loop import Loop
from agent.reload import Reload
from agent.spot_notice import FINISH_S, HAND_BACK_S, until_notice
from agent.status import Status
from shared.errors import Conflict, Misconfigured, MusterError
from shared.log import get
from shared.store import agents
from shared.tasks import end_tasks

__all__ = ["Announce", "Operations", "leave_on_notice"]

#: how long the store may take to hear of a drain, in seconds
ANNOUNCE_S = 3.0

#: tells the store that the agent drains, or no longer does
Announce = Callable[[agents.Command], Awaitable[None]]

log = get(__name__)


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The running agent, as it is operated."""

    loop: Loop
    status: Status
    reload: Reload
    #: None: there is nobody to tell
    announce: Announce | None
    #: set when SIGHUP came
    hang_ups: asyncio.Event
    #: the cloud it runs in, as its probe says; None: none
    provider: str | None
    sleep: Sleep

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """As long as the block runs, the socket, SIGHUP and the cloud's notice are heard."""
        tasks = [
            asyncio.create_task(self._reload_again_and_again()),
            asyncio.create_task(leave_on_notice(self.loop, until_notice(self.provider, sleep=self.sleep), self.sleep)),
        ]
        try:
            async with control_socket(self.status.state_dir, self.commands):
                yield
        finally:
            await end_tasks(*tasks)
            await self.reload.close()

    @property
    def commands(self) -> Mapping[str, Command]:
        """What the socket takes."""
        return {"status": self._status, "drain": self._drain, "resume": self._resume, "reload": self.reload.run}

    async def _status(self) -> dict[str, Any]:
        return self.status.document()

    async def _drain(self) -> dict[str, Any]:
        self.loop.drain(stops=False)
        return await self._announced(agents.Command.DRAIN)

    async def _resume(self) -> dict[str, Any]:
        drain = self.loop.standing.drain
        if drain is not None and drain.stops:
            raise Conflict("the agent was told to end, and will when its jobs have; start it again then")
        self.loop.resume()
        return await self._announced(agents.Command.RESUME)

    async def _announced(self, command: agents.Command) -> dict[str, Any]:
        standing = self.loop.standing
        answer = {"draining": standing.drain is not None, "held": len(standing.held)}
        try:
            async with asyncio.timeout(ANNOUNCE_S):
                if self.announce is not None:
                    await self.announce(command)
        except (MusterError, TimeoutError) as error:
            why = str(error) or f"no answer within {ANNOUNCE_S:g} s"
            log.warning("drain.unannounced", command=command, error=why)
            return answer | {"warning": f"the store couldn't be told, so the fleet doesn't see it: {why}"}
        return answer

    async def _reload_again_and_again(self) -> None:
        while True:
            await self.hang_ups.wait()
            self.hang_ups.clear()
            try:
                await self.reload.run()
            except Misconfigured:  # it is in the log, with all faults
                continue
            except Exception:  # a loop's top: a reload that fails leaves the agent as it is
                log.exception("config.unread")


async def leave_on_notice(loop: Loop, notice: Awaitable[str | None], sleep: Sleep) -> None:
    """Drain when the machine is about to go, and have everything given back before it does.

    Args:
        loop: the agent's.
        notice: says why, once; None: never.
        sleep: waits for so many seconds.
    """
    try:
        why = await notice
    except Exception:  # a task's top: an agent that isn't warned runs on
        log.exception("notice.unread")
        return
    if why is None:
        return
    log.warning("machine.leaving", notice=why, finish_s=FINISH_S, hand_back_s=HAND_BACK_S)
    loop.drain(timeout_s=FINISH_S)
    await sleep(HAND_BACK_S)
    loop.leave()
