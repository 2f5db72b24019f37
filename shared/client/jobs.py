"""Jobs of a hub: submit, look, cancel, wait."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from shared.client.connection import Connection, quoted
from shared.client.stream import PATIENCE_S, OnOutage, follow
from shared.wire.job import JobRequest
from shared.wire.states import FINAL_STATES
from shared.wire.views import Event, JobPage, JobView

__all__ = ["Draft", "Jobs"]

#: a job as submitted: the document of the API, or its type
Draft = JobRequest | Mapping[str, Any]


class Jobs:
    """The jobs a key may see."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def submit(self, job: Draft, *, idempotency_key: str | None = None, wait_s: float | None = None) -> JobView:
        """The job as accepted, or with `wait_s` as it is when it is final or that time is over.

        Args:
            job: such as `{"service": "simulation", "payload": {"steps": 5}}`.
            idempotency_key: the first job under this key in 24 h is answered again.
            wait_s: 0 to 300 seconds.

        Raises:
            Refused: nothing was stored.
            Unavailable: with an idempotency key the call may be repeated safely.
        """
        return await self._connection.post(
            "/v1/jobs",
            JobView,
            body=msgspec.json.encode(job),
            headers={"Idempotency-Key": idempotency_key} if idempotency_key else None,
            query={"wait": None if wait_s is None else f"{wait_s:g}"},
            wait_s=wait_s or 0.0,
        )

    async def submit_many(self, jobs: Sequence[Draft], *, idempotency_key: str | None = None) -> list[JobView]:
        """Up to 1,000 jobs as accepted, in order: all of them or none. Raises: Refused, Unavailable."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        body = msgspec.json.encode({"jobs": list(jobs)})
        page = await self._connection.post("/v1/jobs", JobPage, body=body, headers=headers)
        return list(page.items)

    async def check(self, job: Draft) -> dict[str, Any]:
        """Who could run a job that isn't submitted, and why the others couldn't. Raises: Refused, as submit would."""
        return await self._connection.post("/v1/jobs/check", dict[str, Any], body=msgspec.json.encode(job))

    async def get(self, job_id: str) -> JobView:
        """The job with history and result. Raises: NotFound, Unavailable."""
        return await self._connection.get(_path(job_id), JobView)

    def list(self, **filters: str | int | None) -> AsyncGenerator[JobView, None]:
        """Jobs, newest first, page after page.

        Args:
            filters: `pool`, `state`, `service`, `customer_id`, `workflow_id`, `label` (`key:value`), and `limit`, the
                size of a page.
        """
        return self._connection.pages("/v1/jobs", JobView, filters)

    async def cancel(self, job_id: str) -> JobView:
        """The job: `cancelled`, or `active` with `cancel_requested`. Raises: Conflict (it is final), NotFound."""
        return await self._connection.post(_path(job_id, "/cancel"), JobView)

    async def payload(self, job_id: str) -> Any:
        """What the service was asked to do. Raises: NotFound."""
        return await self._connection.get(_path(job_id, "/payload"), object)

    async def explain(self, job_id: str) -> dict[str, Any]:
        """Who could run the job, and why the others can't. Raises: NotFound."""
        return await self._connection.get(_path(job_id, "/explain"), dict[str, Any])

    async def events(
        self,
        job_id: str,
        *,
        cursor: str | None = None,
        patience_s: float = PATIENCE_S,
        on_outage: OnOutage | None = None,
    ) -> AsyncGenerator[Event, None]:
        """What happened to the job and what happens, to its final event; each once.

        Args:
            job_id: the job's.
            cursor: an event's id to go on after; None: from its submit on.
            patience_s: how long an outage may last, once connected.
            on_outage: told of each try that failed.

        Raises:
            NotFound: no such job.
            Unavailable: the first connection failed, or an outage lasted longer than the patience.
        """

        async def ended() -> bool:
            return (await self.get(job_id)).state in FINAL_STATES

        seen: set[tuple[str, int, int | None]] = set()
        stream = follow(
            self._connection,
            _path(job_id, "/events"),
            cursor=cursor,
            ended=ended,
            patience_s=patience_s,
            on_outage=on_outage,
        )
        async with aclosing(stream) as events:
            async for event in events:
                key = (event.type, event.at_ms, event.fence)
                if event.type == "job.progress" or key not in seen:
                    yield event
                seen.add(key)

    async def wait(self, job_id: str, *, patience_s: float = PATIENCE_S) -> JobView:
        """The job when it is final. Raises: NotFound, Unavailable."""
        async with aclosing(self.events(job_id, patience_s=patience_s)) as events:
            async for _ in events:
                pass
        return await self.get(job_id)


def _path(job_id: str, more: str = "") -> str:
    return f"/v1/jobs/{quoted(job_id)}{more}"
