"""What operators do to jobs of a hub: retry, priorities, and many jobs at once."""

import msgspec

from shared.client.connection import Connection, quoted
from shared.wire.views import JobView

__all__ = ["Control"]


class _Changed(msgspec.Struct, frozen=True):
    """What one call by filter did."""

    count: int
    next_cursor: str | None = None


class Control:
    """The jobs a key may control."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def retry(self, job_id: str) -> JobView:
        """A failed or cancelled job, back in the queue with all its attempts. Raises: Conflict, NotFound."""
        return await self._connection.post(f"/v1/jobs/{quoted(job_id)}/retry", JobView)

    async def prioritize(self, job_id: str, priority: int) -> JobView:
        """A waiting job with another priority, 0 to 1000. Raises: Conflict (it doesn't wait), NotFound."""
        body = msgspec.json.encode({"priority": priority})
        return await self._connection.patch(f"/v1/jobs/{quoted(job_id)}", JobView, body)

    async def retry_all(self, **filters: str | None) -> int:
        """How many failed and cancelled jobs went back to the queue.

        Args:
            filters: `pool`, and at least one of `state`, `service`, `customer_id`, `workflow_id`, `label` (`key:value`)
                and `failure_class`.

        Raises:
            Invalid: no filter, or one that can't be.
            Unavailable: some may have gone back; the call may be repeated.
        """
        return await self._change("/v1/jobs/retry", filters)

    async def cancel_all(self, **filters: str | None) -> int:
        """How many jobs that weren't final were cancelled or told to stop. Args, Raises: as `retry_all`."""
        return await self._change("/v1/jobs/cancel", filters)

    async def _change(self, path: str, filters: dict[str, str | None]) -> int:
        count = 0
        body = {name: value for name, value in filters.items() if value is not None}
        while True:
            changed = await self._connection.post(path, _Changed, body=msgspec.json.encode(body))
            count += changed.count
            if changed.next_cursor is None:
                return count
            body["cursor"] = changed.next_cursor
