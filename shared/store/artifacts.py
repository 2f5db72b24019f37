"""What is known of uploaded inputs: size, digest, type. The bytes are in the artifact store, not here."""

from collections.abc import Awaitable, Collection
from typing import cast

import msgspec

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key

__all__ = ["ArtifactRecord", "ArtifactRecords"]

#: an input is forgotten after a week, in seconds
KEPT_S = 7 * 24 * 3600


class ArtifactRecord(msgspec.Struct, frozen=True):
    """One uploaded file."""

    id: str
    bytes: int
    #: lower-case hex
    sha256: str
    content_type: str


class ArtifactRecords:
    """The records, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, record: ArtifactRecord) -> None:
        """Keep a record for a week. Raises: Unavailable."""
        key = _key(record.id)
        fields = ["bytes", str(record.bytes), "sha256", record.sha256, "content_type", record.content_type]
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            pipe.hset(key, items=fields)
            pipe.expire(key, KEPT_S)
            await pipe.execute()

    async def find(self, artifact_id: str) -> ArtifactRecord:
        """The record. Raises: NotFound, Unavailable."""
        async with translated():
            found = await cast("Awaitable[dict[bytes, bytes]]", self._store.client.hgetall(_key(artifact_id)))
        if not found:
            raise NotFound(f"no artifact {artifact_id!r}", code="unknown_artifact")
        return ArtifactRecord(
            artifact_id, int(found[b"bytes"]), found[b"sha256"].decode(), found[b"content_type"].decode()
        )

    async def known(self, artifact_ids: Collection[str]) -> frozenset[str]:
        """Those of the ids that there are. Raises: Unavailable."""
        wanted = sorted(set(artifact_ids))
        if not wanted:
            return frozenset()
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for artifact_id in wanted:
                pipe.exists(_key(artifact_id))
            answers = await pipe.execute()
        return frozenset(artifact_id for artifact_id, there in zip(wanted, answers, strict=True) if there)


def _key(artifact_id: str) -> str:
    return pool_key(HUB, f"artifact:{artifact_id}")
