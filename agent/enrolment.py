"""Getting in: from `HUB_URL` and an enrolment token to an identity that lasts.

- A kept identity is used again; not when it is for another hub, id or pools, or when the hub no longer knows it.
- A hub that can't be reached is waited for where there is no identity yet, and not needed where there is one.
- A bad token is never tried twice.
"""

from dataclasses import dataclass

import msgspec

from agent.alarm import Sleep
from agent.backoff import Dice, delay_s
from agent.config import AgentConfig
from agent.identity import Identity
from shared.client.connection import Connection
from shared.errors import Bug, Misconfigured, MusterError, NotAllowed, NotFound, Refused, Unavailable
from shared.log import get
from shared.wire.access import Transport

__all__ = ["Enrolment", "Hubs"]

#: what is sent as pools when none but this is configured is None: all that the token is for
DEFAULT_POOLS = ("default",)
#: what is said when it isn't configured
NO_URL = "expected hub_url to say where the hub is, got nothing; set HUB_URL or --hub-url"
NO_TOKEN = "expected hub_auth_token to be an enrolment token, got nothing; set HUB_AUTH_TOKEN or --token"  # noqa: S105 - no secret
#: an artifact that no hub has: asked for, the answer tells whether the key is known
NO_ARTIFACT = "/v1/artifacts/art_none"

log = get(__name__)


class _Answer(msgspec.Struct, frozen=True):
    """The hub's answer to an enrolment."""

    agent_id: str
    key: str
    transport: Transport
    store_url: str | None
    pools: tuple[str, ...]
    hub_version: str


@dataclass(frozen=True)
class Hubs:
    """Makes connections to a hub; tests give one that needs no network."""

    def to(self, url: str, key: str | None) -> Connection:
        """A connection; whoever asked closes it."""
        return Connection.to(url, key)


class Enrolment:
    """Enrols one agent.

    Args:
        config: where the hub is, with which token, as whom, for which pools.
        hostname: names the agent where no id is configured.
        hubs: makes connections.
        sleep: waits for so many seconds.
        dice: spreads tries.
    """

    def __init__(self, config: AgentConfig, hostname: str, *, hubs: Hubs, sleep: Sleep, dice: Dice) -> None:
        self._config = config
        self._hostname = hostname
        self._hubs = hubs
        self._sleep = sleep
        self._dice = dice

    async def identity(self, kept: Identity | None) -> Identity:
        """The kept identity if it is still good, else a new one.

        Raises:
            Misconfigured: there is no hub or no token, or the hub refuses what it is asked for.
            NotAllowed: the token is bad, or not for these pools.
        """
        if kept is not None and self._is_asked_for(kept) and await self._is_known(kept):
            return kept
        return await self._enrol(kept)

    def _asked_pools(self) -> tuple[str, ...] | None:
        pools = tuple(self._config.pools)
        return None if pools == DEFAULT_POOLS else pools

    def _is_asked_for(self, kept: Identity) -> bool:
        """Does the configuration still mean this identity? What isn't configured doesn't speak against it."""
        return (
            self._config.hub_url in (None, kept.hub_url)
            and self._config.worker_id in (None, kept.agent_id)
            and self._asked_pools() == kept.asked_pools
        )

    async def _is_known(self, kept: Identity) -> bool:
        hub = self._hubs.to(kept.hub_url, kept.key)
        try:
            async with hub.stream("GET", NO_ARTIFACT):
                return True
        except NotAllowed as refusal:
            log.warning("agent.unknown_to_hub", agent_id=kept.agent_id, error=refusal.detail)
            return refusal.code == "not_a_hub"
        except MusterError:  # no such artifact, as it should be; or the hub is away, and work goes on without it
            return True
        finally:
            await hub.close()

    async def _enrol(self, kept: Identity | None) -> Identity:
        url = self._config.hub_url or (kept.hub_url if kept else None)
        missing = [*([] if url else [NO_URL]), *([] if self._config.hub_auth_token else [NO_TOKEN])]
        if url is None or missing:
            raise Misconfigured("\n".join(missing))
        hub = self._hubs.to(url, self._config.hub_auth_token)
        try:
            answer = await self._ask_patiently(hub, kept)
        finally:
            await hub.close()
        log.info("agent.enrolled", agent_id=answer.agent_id, hub_url=url, pools=answer.pools, hub=answer.hub_version)
        return Identity(
            hub_url=url,
            asked_pools=self._asked_pools(),
            agent_id=answer.agent_id,
            key=answer.key,
            transport=answer.transport,
            store_url=answer.store_url,
            pools=answer.pools,
        )

    async def _ask_patiently(self, hub: Connection, kept: Identity | None) -> _Answer:
        body = msgspec.json.encode(self._request(hub, kept))
        failures = 0
        while True:
            try:
                return await hub.post("/v1/agents/enroll", _Answer, body=body)
            except (Unavailable, Bug) as error:
                failures += 1
                log.warning("hub.unavailable", hub_url=hub.url, error=error.detail, failures=failures)
            except (NotAllowed, NotFound) as refusal:
                raise _named(refusal, hub.url) from refusal
            except Refused as refusal:
                raise Misconfigured(f"the hub at {hub.url} doesn't enrol this agent: {refusal.detail}") from refusal
            await self._sleep(delay_s(failures, self._dice))

    def _request(self, hub: Connection, kept: Identity | None) -> dict[str, object]:
        """The body: an id that is configured, else the one this machine has at this hub, else the hub makes one."""
        known = kept.agent_id if kept is not None and kept.hub_url.rstrip("/") == hub.url else None
        request = {
            "hostname": self._hostname,
            "agent_id": self._config.worker_id or known,
            "pools": self._asked_pools(),
        }
        return {name: value for name, value in request.items() if value is not None}


def _named(refusal: MusterError, url: str) -> MusterError:
    if isinstance(refusal, NotFound):
        return Misconfigured(f"expected a Muster hub at {url}, but it has no enrolment: {refusal.detail} (HUB_URL)")
    return NotAllowed(
        f"the hub at {url} refuses to enrol this agent: {refusal.detail} (HUB_AUTH_TOKEN)", code=refusal.code
    )
