"""Who did what to the deployment, when and from where: one stream, the newest 100,000 acts."""

from typing import Any

import msgspec

from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key

__all__ = ["Act", "Audit"]

MOST_ACTS = 100_000


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One administrative act that was done, or refused."""

    #: its place in the log; the cursor of the next page
    id: str = ""
    at_ms: int
    #: the key's name, or `local` for the command line on the hub's machine
    who: str
    #: of the key or token
    credential_id: str | None = None
    #: what was asked, such as `DELETE /v1/agents/{agent_id}`
    act: str
    #: what it was about: ids of the address, as `agent_id=gpu-7`
    about: str = ""
    #: address of the client
    address: str = ""
    #: of the answer
    status: int = 200
    request_id: str = ""


class Audit:
    """Appends and reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def note(self, act: Act) -> None:
        """Append it. Raises: Unavailable."""
        text = msgspec.json.encode(act)
        async with translated():
            await self._store.client.xadd(_KEY, {"act": text}, maxlen=MOST_ACTS, approximate=True)

    async def page(self, cursor: str | None, limit: int) -> tuple[list[Act], str | None]:
        """The newest first, and the cursor of the next page; None: that was the end. Raises: Unavailable."""
        async with translated():
            rows = await self._store.client.xrevrange(_KEY, max=f"({cursor}" if cursor else "+", count=limit + 1)
        acts = [_act(*row) for row in rows[:limit]]
        return acts, acts[-1].id if len(rows) > limit else None


_KEY = pool_key(HUB, "audit")


def _act(entry_id: bytes, fields: dict[bytes, Any]) -> Act:
    return msgspec.structs.replace(msgspec.json.decode(fields[b"act"], type=Act), id=entry_id.decode())
