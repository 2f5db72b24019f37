"""Keys, enrolment tokens and agents' identities, in the store. Knows no HTTP.

- Only digests (SHA-256) of secrets are kept; a secret of 256 random bits is shown once, where it is made.
- A secret's first letters say what it is: `mk_` key, `mt_` enrolment token, `ma_` agent identity.
- An agent has one identity: the newest. `identities` decides, so that replacing it is one write.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Collection
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from shared.clock import Clock
from shared.errors import NotAllowed, NotFound
from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key
from shared.wire.access import AGENT_SCOPES, Credential, Principal, Scope

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Access", "CredentialKind"]

SECRET_BYTES = 32
ID_LENGTH = 12
ALL_POOLS = "*"


class CredentialKind(StrEnum):
    """What a person hands out. The value is the word in the store's keys."""

    KEY = "key"
    #: only to enrol agents
    TOKEN = "token"  # noqa: S105 - a word, no secret


_PREFIX = {CredentialKind.KEY: "mk_", CredentialKind.TOKEN: "mt_"}
_IDENTITY_PREFIX = "ma_"


class Access:
    """Makes, finds and revokes secrets.

    Args:
        store: where the digests are.
        clock: for `created_at_ms` and expiry.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        kind: CredentialKind,
        name: str,
        *,
        scopes: Collection[Scope],
        pools: Collection[str] | None = None,
        lifetime_s: int | None = None,
    ) -> tuple[Credential, str]:
        """A new credential, and its secret, which can't be had again.

        Args:
            kind: key or token.
            name: for people.
            scopes: what it may do.
            pools: where; None: everywhere.
            lifetime_s: None: until revoked.

        Raises:
            Unavailable: nothing was made.
        """
        secret = _PREFIX[kind] + secrets.token_urlsafe(SECRET_BYTES)
        digest = _digest(secret)
        created_at_ms = self._clock.now_ms()
        credential = Credential(
            id=digest[:ID_LENGTH],
            name=name,
            scopes=tuple(sorted(scopes)),
            pools=tuple(sorted(pools)) if pools is not None else (ALL_POOLS,),
            created_at_ms=created_at_ms,
            expires_at_ms=created_at_ms + lifetime_s * 1000 if lifetime_s is not None else None,
        )
        await self._save(kind, digest, credential)
        return credential, secret

    async def listed(self, kind: CredentialKind) -> list[Credential]:
        """All credentials of a kind, oldest first. Raises: Unavailable."""
        found = [await self._credential(kind, digest) for digest in await self._digests(kind)]
        return sorted((one for one in found if one is not None), key=lambda one: (one.created_at_ms, one.id))

    async def revoke(self, kind: CredentialKind, credential_id: str) -> Credential:
        """The credential that was: its secret is worth nothing from now on.

        Raises:
            NotFound: no credential of that kind has this id.
            Unavailable: nothing was revoked.
        """
        for digest in await self._digests(kind):
            if digest[:ID_LENGTH] == credential_id and (one := await self._credential(kind, digest)):
                async with translated(), self._client.pipeline(transaction=True) as pipe:
                    pipe.delete(_key(f"{kind}:{digest}"))
                    pipe.srem(_key(f"{kind}s"), digest)
                    await pipe.execute()
                return one
        raise NotFound(f"no {kind} with id {credential_id!r}")

    async def find(self, secret: str) -> Principal | None:
        """Who the secret stands for; None: nobody, or no longer. Raises: Unavailable."""
        digest = _digest(secret)
        if secret.startswith(_IDENTITY_PREFIX):
            return await self._agent(digest)
        for kind, prefix in _PREFIX.items():
            if secret.startswith(prefix):
                one = await self._credential(kind, digest)
                return None if one is None else _principal(one)
        return None

    async def enroll(self, agent_id: str, hostname: str, *, pools: Collection[str], by: Principal) -> str:
        """The secret of the agent's new identity; its former one is worth nothing from now on.

        Args:
            agent_id: known or new.
            hostname: for people.
            pools: where it may work.
            by: who lets it in; must be for all pools of the identity that it replaces.

        Raises:
            NotAllowed: the agent is known in a pool that `by` isn't for.
            Unavailable: nothing changed.
        """
        former = await self._identity_digest(agent_id)
        if former is not None:
            await self._check_replaceable(agent_id, former, by)
        secret = _IDENTITY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        digest = _digest(secret)
        fields = {
            "agent_id": agent_id,
            "hostname": hostname,
            "pools": _joined(pools),
            "created_at_ms": str(self._clock.now_ms()),
        }
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(_key(f"identity:{digest}"), items=_flat(fields))
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

    async def _save(self, kind: CredentialKind, digest: str, credential: Credential) -> None:
        fields = {
            "name": credential.name,
            "scopes": _joined(credential.scopes),
            "pools": _joined(credential.pools),
            "created_at_ms": str(credential.created_at_ms),
        }
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(_key(f"{kind}:{digest}"), items=_flat(fields))
            if credential.expires_at_ms is not None:
                pipe.hset(_key(f"{kind}:{digest}"), "expires_at_ms", str(credential.expires_at_ms))
                pipe.pexpireat(_key(f"{kind}:{digest}"), credential.expires_at_ms)
            pipe.sadd(_key(f"{kind}s"), digest)
            await pipe.execute()

    async def _digests(self, kind: CredentialKind) -> list[str]:
        async with translated():
            members = await cast("Awaitable[set[bytes]]", self._client.smembers(_key(f"{kind}s")))
        return [member.decode() for member in members]

    async def _credential(self, kind: CredentialKind, digest: str) -> Credential | None:
        fields = await self._fields(f"{kind}:{digest}")
        if not fields:
            return None
        expires_at_ms = fields.get("expires_at_ms")
        return Credential(
            id=digest[:ID_LENGTH],
            name=fields["name"],
            scopes=tuple(Scope(scope) for scope in fields["scopes"].split(",") if scope),
            pools=tuple(fields["pools"].split(",")),
            created_at_ms=int(fields["created_at_ms"]),
            expires_at_ms=int(expires_at_ms) if expires_at_ms else None,
        )

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


def _principal(credential: Credential) -> Principal:
    pools = None if credential.pools == (ALL_POOLS,) else frozenset(credential.pools)
    return Principal(name=credential.name, scopes=frozenset(credential.scopes), pools=pools)


def _flat(fields: dict[str, str]) -> list[str]:
    return [word for pair in fields.items() for word in pair]


def _joined(words: Collection[str]) -> str:
    return ",".join(sorted(words))


def _key(name: str) -> str:
    return pool_key(HUB, name)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
