"""Whom a secret stands for, and the identities of agents, in the store. Knows no HTTP.

- An agent's secret begins with `ma_`; only its digest is kept.
- An agent has one identity: the newest. `identities` decides, so that replacing it is one write.
"""

import secrets
from collections.abc import Awaitable, Collection
from typing import TYPE_CHECKING, cast

from shared.clock import Clock
from shared.errors import NotAllowed
from shared.store.connection import Store, translated
from shared.store.credentials import ALL_POOLS, SECRET_BYTES, CredentialKind, Credentials, digest_of, kind_of
from shared.store.keys import HUB, pool_key
from shared.wire.access import AGENT_SCOPES, Credential, Principal

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Access"]

_IDENTITY_PREFIX = "ma_"


class Access:
    """Finds who a secret is, and lets agents in.

    Args:
        store: where the digests are.
        clock: for `created_at_ms`.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._credentials = Credentials(store, clock)

    async def find(self, secret: str) -> Principal | None:
        """Who the secret stands for; None: nobody, or no longer. Raises: Unavailable."""
        digest = digest_of(secret)
        if secret.startswith(_IDENTITY_PREFIX):
            return await self._agent(digest)
        kind = kind_of(secret)
        return None if kind is None else await self._holder(kind, digest)

    async def find_key(self, digest: str) -> Principal | None:
        """Who a key stands for, by its secret's digest; None: nobody, or no longer. Raises: Unavailable."""
        return await self._holder(CredentialKind.KEY, digest)

    async def enroll(self, agent_id: str, hostname: str, *, pools: Collection[str], by: Principal) -> str:
        """The secret of the agent's new identity; its former one is worth nothing from now on.

        Args:
            agent_id: known or new.
            hostname: for people.
            pools: where it may work.
            by: who lets it in; must be for all pools of the identity that it replaces.

        Raises:
            NotAllowed: the agent is known in a pool that `by` isn't for, or its token is used up.
            Unavailable: nothing changed.
        """
        former = await self._identity_digest(agent_id)
        if former is not None:
            await self._check_replaceable(agent_id, former, by)
        if by.token_digest is not None:
            await self._credentials.spend(CredentialKind.TOKEN, by.token_digest)
        secret = _IDENTITY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        digest = digest_of(secret)
        fields = {
            "agent_id": agent_id,
            "hostname": hostname,
            "pools": ",".join(sorted(pools)),
            "created_at_ms": str(self._clock.now_ms()),
        }
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(_key(f"identity:{digest}"), items=[word for pair in fields.items() for word in pair])
            pipe.hset(_key("identities"), agent_id, digest)
            if former is not None:
                pipe.delete(_key(f"identity:{former}"))
            await pipe.execute()
        return secret

    async def pools_of_agent(self, agent_id: str) -> frozenset[str]:
        """Where the agent may work; empty: it has no identity. Raises: Unavailable."""
        digest = await self._identity_digest(agent_id)
        fields = await self._fields(f"identity:{digest}") if digest else {}
        return frozenset(pool for pool in fields.get("pools", "").split(",") if pool)

    async def revoke_agent(self, agent_id: str) -> None:
        """The agent's identity is worth nothing from now on. Raises: Unavailable."""
        digest = await self._identity_digest(agent_id)
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hdel(_key("identities"), agent_id)
            if digest is not None:
                pipe.delete(_key(f"identity:{digest}"))
            await pipe.execute()

    @property
    def _client(self) -> "Redis":
        return cast("Redis", self._store.client)

    async def _holder(self, kind: CredentialKind, digest: str) -> Principal | None:
        one = await self._credentials.find(kind, digest)
        if one is None:
            return None
        await self._credentials.used(kind, digest, one)
        return _principal(kind, digest, one)

    async def _fields(self, name: str) -> dict[str, str]:
        async with translated():
            found = await cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(_key(name)))
        return {field.decode(): value.decode() for field, value in found.items()}

    async def _identity_digest(self, agent_id: str) -> str | None:
        async with translated():
            found = await cast("Awaitable[bytes | None]", self._client.hget(_key("identities"), agent_id))
        return None if found is None else found.decode()

    async def _agent(self, digest: str) -> Principal | None:
        fields = await self._fields(f"identity:{digest}")
        if not fields or await self._identity_digest(fields["agent_id"]) != digest:
            return None
        pools = frozenset(fields["pools"].split(","))
        return Principal(name=fields["agent_id"], scopes=AGENT_SCOPES, pools=pools, agent_id=fields["agent_id"])

    async def _check_replaceable(self, agent_id: str, digest: str, by: Principal) -> None:
        fields = await self._fields(f"identity:{digest}")
        foreign = sorted(pool for pool in fields.get("pools", "").split(",") if pool and not by.sees(pool))
        if foreign:
            raise NotAllowed(f"agent {agent_id!r} belongs to pool {foreign[0]!r}", code="pool_not_allowed")


def _principal(kind: CredentialKind, digest: str, credential: Credential) -> Principal:
    return Principal(
        name=credential.name,
        scopes=frozenset(credential.scopes),
        pools=None if credential.pools == (ALL_POOLS,) else frozenset(credential.pools),
        credential_id=credential.id,
        token_digest=digest if kind is CredentialKind.TOKEN else None,
        customer_id=credential.customer_id,
        rate_per_minute=credential.rate_per_minute,
        found_by=f"{kind} {digest}",
    )


def _key(name: str) -> str:
    return pool_key(HUB, name)
