"""All open links of this hub, and what is done when one ends: an agent that goes without a word is missed.

- Missed means: the store is told to take its jobs after a grace, and to ask it for a sign of life.
- Not missed is an agent that has another link here, or said that it goes; and nobody is, when it is the hub that goes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from hub.link.asks import Asks
from hub.link.session import LinkSession
from hub.link.wakes import LinkWakes
from shared import log
from shared.errors import MusterError
from shared.store.agents import Agents
from shared.store.connection import Store
from shared.store.fleet import Fleet
from shared.store.suspensions import Suspensions
from shared.store.workers import Park, Workers
from shared.wire.link import GOODBYE

__all__ = ["Links", "opened_links"]

_log = log.get(__name__)


class Links:
    """The links.

    Args:
        store: the broker.
        wakes: hears for the agents.
        grace_s: how long an agent that is missed may take for a sign of life.
    """

    def __init__(self, store: Store, wakes: LinkWakes, *, grace_s: float) -> None:
        # told, not handed: a job that comes with the wake is lost within a second if its agent's link breaks just then
        self._workers = Workers(store, park=Park.TOLD)
        self._suspensions = Suspensions(store)
        self._fleet = Fleet(store)
        self._agents = Agents(store)
        self._wakes = wakes
        self._grace_s = grace_s
        self._newest: dict[str, LinkSession] = {}
        self._is_stopping = False

    def __len__(self) -> int:
        """How many agents are linked."""
        return len(self._newest)

    def stop(self) -> None:
        """The hub goes: whose link ends from now on is not missed."""
        self._is_stopping = True

    def session(self, agent_id: str, pools: frozenset[str], *, is_known: Callable[[], Awaitable[bool]]) -> LinkSession:
        """A link of this agent that is about to begin; `is_known` tells whether its identity is still good."""
        asks = Asks(
            agent_id,
            pools,
            workers=self._workers,
            suspensions=self._suspensions,
            fleet=self._fleet,
            agents=self._agents,
        )
        return LinkSession(agent_id, pools, asks=asks, wakes=self._wakes, is_known=is_known)

    @contextmanager
    def entered(self, session: LinkSession) -> Iterator[None]:
        """The agent's newest link, while the block runs."""
        self._newest[session.agent_id] = session
        _log.info("link.opened", agent_id=session.agent_id, links=len(self))
        try:
            yield
        finally:
            if self._newest[session.agent_id] is session:
                del self._newest[session.agent_id]

    async def closed(self, session: LinkSession, code: int) -> None:
        """A link has ended with this code: miss its agent, if there is reason to."""
        is_missed = code != GOODBYE and session.agent_id not in self._newest and not self._is_stopping
        note = _log.warning if is_missed else _log.info
        note("link.closed", agent_id=session.agent_id, close_code=code, missed=is_missed)
        if not is_missed:
            return
        try:
            held = await self._agents.miss(session.pools, session.agent_id, grace_s=self._grace_s)
        except MusterError as error:  # its leases end by themselves
            _log.warning("agent.not_missed", agent_id=session.agent_id, error=error.detail)
            return
        _log.info("agent.missed", agent_id=session.agent_id, held=held, grace_s=self._grace_s)


@asynccontextmanager
async def opened_links(store: Store, *, grace_s: float) -> AsyncIterator[Links]:
    """Links over this store, which hear until the block ends."""
    async with LinkWakes(store) as wakes:
        yield Links(store, wakes, grace_s=grace_s)
