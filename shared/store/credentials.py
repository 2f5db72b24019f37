"""Keys and enrolment tokens, in the store. Knows no HTTP.

- Only digests (SHA-256) of secrets are kept; a secret of 256 random bits is shown once, where it is made.
- A secret's first letters say what it is: `mk_` key, `mt_` enrolment token.
- One that has an end is gone from the store by itself then.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Collection
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import msgspec

from shared.clock import Clock
from shared.errors import NotAllowed, NotFound
from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key
from shared.wire.access import Credential, Scope

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["CredentialKind", "Credentials", "Grant", "digest_of", "kind_of"]

SECRET_BYTES = 32
ID_LENGTH = 12
ALL_POOLS = "*"
MS_PER_S = 1000
#: when a key was used last is written at the most so often
USED_EVERY_MS = 60_000


class CredentialKind(StrEnum):
    """What a person hands out. The value is the word in the store's keys."""

    KEY = "key"
    #: only to enrol agents
    TOKEN = "token"  # noqa: S105 - a word, no secret


_PREFIX = {CredentialKind.KEY: "mk_", CredentialKind.TOKEN: "mt_"}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a new credential is to be good for."""

    scopes: Collection[Scope]
    #: None: all pools
    pools: Collection[str] | None = None
    #: None: until revoked
    lifetime_s: int | None = None
    #: sees and submits this customer's jobs alone; None: everybody's
    customer_id: str | None = None
    #: requests a minute; None: no limit
    rate_per_minute: int | None = None
    #: a token lets so many machines in; None: no limit
    uses: int | None = None


class Credentials:
    """Makes, lists, replaces and revokes keys and tokens.

    Args:
        store: where the digests are.
        clock: for times of creation, use and end.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, kind: CredentialKind, name: str, grant: Grant) -> tuple[Credential, str]:
        """A new credential, and its secret, which can't be had again. Raises: Unavailable, and nothing was made."""
        secret = _PREFIX[kind] + secrets.token_urlsafe(SECRET_BYTES)
        digest, now_ms = digest_of(secret), self._clock.now_ms()
        credential = Credential(
            id=digest[:ID_LENGTH],
            name=name,
            scopes=tuple(sorted(grant.scopes)),
            pools=tuple(sorted(grant.pools)) if grant.pools is not None else (ALL_POOLS,),
            created_at_ms=now_ms,
            expires_at_ms=now_ms + grant.lifetime_s * MS_PER_S if grant.lifetime_s is not None else None,
            customer_id=grant.customer_id,
            rate_per_minute=grant.rate_per_minute,
            uses_left=grant.uses,
        )
        await self._save(kind, digest, credential)
        return credential, secret

    async def listed(self, kind: CredentialKind) -> list[Credential]:
        """All of a kind, oldest first; those that ended by themselves are forgotten. Raises: Unavailable."""
        found = {digest: await self.find(kind, digest) for digest in await self._digests(kind)}
        over = [digest for digest, one in found.items() if one is None]
        if over:
            async with translated():
                await self._client.srem(_key(f"{kind}s"), *over)
        return sorted((one for one in found.values() if one is not None), key=lambda one: (one.created_at_ms, one.id))

    async def revoke(self, kind: CredentialKind, credential_id: str) -> Credential:
        """The credential that was: its secret is worth nothing from now on. Raises: NotFound, Unavailable."""
        digest, credential = await self._required(kind, credential_id)
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.delete(_key(f"{kind}:{digest}"))
            pipe.srem(_key(f"{kind}s"), digest)
            await pipe.execute()
        return credential

    async def rotate(self, kind: CredentialKind, credential_id: str, *, overlap_s: int) -> tuple[Credential, str]:
        """A new credential that may do what this one may, and its secret; this one ends after the overlap.

        Raises:
            NotFound: no credential of that kind has this id.
        """
        digest, old = await self._required(kind, credential_id)
        now_ms = self._clock.now_ms()
        grant = Grant(
            scopes=old.scopes,
            pools=None if old.pools == (ALL_POOLS,) else old.pools,
            lifetime_s=(old.expires_at_ms - now_ms) // MS_PER_S if old.expires_at_ms is not None else None,
            customer_id=old.customer_id,
            rate_per_minute=old.rate_per_minute,
            uses=old.uses_left,
        )
        made = await self.create(kind, old.name, grant)
        end_ms = min(now_ms + overlap_s * MS_PER_S, old.expires_at_ms or now_ms + overlap_s * MS_PER_S)
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(_key(f"{kind}:{digest}"), "expires_at_ms", str(end_ms))
            pipe.pexpireat(_key(f"{kind}:{digest}"), end_ms)
            await pipe.execute()
        return made

    async def spend(self, kind: CredentialKind, digest: str) -> None:
        """Use it up by one, where its uses are counted. Raises: NotAllowed, when none is left."""
        key = _key(f"{kind}:{digest}")
        async with translated():
            if not await self._client.hexists(key, "uses_left"):
                return
            left = await self._client.hincrby(key, "uses_left", -1)
        if left < 0:
            raise NotAllowed("this token has let in all the machines it is for", code="token_used_up")

    async def find(self, kind: CredentialKind, digest: str) -> Credential | None:
        """The credential of a secret's digest; None: there is none, or no longer. Raises: Unavailable."""
        async with translated():
            found = await cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(_key(f"{kind}:{digest}")))
        return _credential(digest, {field.decode(): value.decode() for field, value in found.items()})

    async def used(self, kind: CredentialKind, digest: str, credential: Credential) -> None:
        """It is being used: note that now and then, for people who look for keys that nobody needs."""
        now_ms = self._clock.now_ms()
        if now_ms - (credential.last_used_at_ms or 0) >= USED_EVERY_MS:
            async with translated():
                key = _key(f"{kind}:{digest}")
                await self._client.hset(key, "last_used_at_ms", str(now_ms))
                if credential.expires_at_ms is not None:  # should it have ended just now
                    await self._client.pexpireat(key, credential.expires_at_ms)

    @property
    def _client(self) -> "Redis":
        return cast("Redis", self._store.client)

    async def _required(self, kind: CredentialKind, credential_id: str) -> tuple[str, Credential]:
        for digest in await self._digests(kind):
            if digest[:ID_LENGTH] == credential_id and (one := await self.find(kind, digest)):
                return digest, one
        raise NotFound(f"no {kind} with id {credential_id!r}", code=f"{kind}_not_found")

    async def _save(self, kind: CredentialKind, digest: str, credential: Credential) -> None:
        key = _key(f"{kind}:{digest}")
        async with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(key, items=_fields(credential))
            if credential.expires_at_ms is not None:
                pipe.pexpireat(key, credential.expires_at_ms)
            pipe.sadd(_key(f"{kind}s"), digest)
            await pipe.execute()

    async def _digests(self, kind: CredentialKind) -> list[str]:
        async with translated():
            members = await cast("Awaitable[set[bytes]]", self._client.smembers(_key(f"{kind}s")))
        return [member.decode() for member in members]


def digest_of(secret: str) -> str:
    """What stands for a secret in the store."""
    return hashlib.sha256(secret.encode()).hexdigest()


def kind_of(secret: str) -> CredentialKind | None:
    """What its first letters say it is; None: neither key nor token."""
    return next((kind for kind, prefix in _PREFIX.items() if secret.startswith(prefix)), None)


#: fields of a credential that are numbers
_NUMBERS = ("created_at_ms", "expires_at_ms", "rate_per_minute", "uses_left", "last_used_at_ms")


def _fields(credential: Credential) -> list[str]:
    """Names and values, one after the other."""
    fields = {
        "name": credential.name,
        "scopes": ",".join(credential.scopes),
        "pools": ",".join(credential.pools),
        "customer_id": credential.customer_id or "",
    }
    numbers = {name: getattr(credential, name) for name in _NUMBERS}
    fields |= {name: str(number) for name, number in numbers.items() if number is not None}
    return [word for pair in fields.items() for word in pair]


def _credential(digest: str, fields: dict[str, str]) -> Credential | None:
    if "name" not in fields:  # the end of its life may leave a late note of its use
        return None
    return Credential(
        id=digest[:ID_LENGTH],
        name=fields["name"],
        scopes=tuple(Scope(scope) for scope in fields["scopes"].split(",") if scope),
        pools=tuple(fields["pools"].split(",")),
        customer_id=fields.get("customer_id") or None,
        **{name: int(fields[name]) for name in _NUMBERS if name in fields},
    )


def _key(name: str) -> str:
    return pool_key(HUB, name)
