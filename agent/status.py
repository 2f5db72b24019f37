"""The running agent as one document, for `muster-agent status`. Asks nobody, so that it answers while all is down."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agent.events import AttemptKey
from agent.held import Held
from agent.loop import Loop
from agent.outcome import Outcome
from agent.recent_troubles import RecentTroubles
from agent.standing import Standing
from shared.wire.job import Progress
from shared.wire.worker import WorkerFacts

__all__ = ["Status"]

SUSPENDED = "the store hands it no jobs of this service: too many failed"


@dataclass(frozen=True, kw_only=True)
class Status:
    """Makes the document."""

    loop: Loop
    #: answers how it reaches the store now: `direct`
    transport: Callable[[], str]
    state_dir: Path
    troubles: RecentTroubles

    def document(self) -> dict[str, Any]:
        """`{"agent_id", "pools", "connected", "draining", "workers": [...], "spool": {...}, "errors": [...]}`."""
        parts, standing = self.loop.parts, self.loop.standing
        facts, jobs = parts.agent, self._jobs(standing)
        return {
            "agent_id": facts.agent_id,
            "version": facts.version,
            "pid": facts.pid,
            "started_at_ms": facts.started_at_ms,
            "tasks": len(asyncio.all_tasks()),
            "state_dir": str(self.state_dir),
            "pools": list(parts.pools),
            "transport": self.transport(),
            "connected": standing.is_connected,
            "outage_s": _rounded(standing.away_s),
            **self._drain(standing),
            "workers": [self._worker(worker, jobs) for worker in parts.offers.workers],
            "jobs": jobs,
            "spool": self._spool(standing.undelivered),
            "errors": list(self.troubles.latest),
        }

    def _drain(self, standing: Standing) -> dict[str, Any]:
        drain = standing.drain
        left_s = None if drain is None else max(0.0, drain.deadline_s - self.loop.parts.clock.monotonic_s())
        return {
            "draining": drain is not None,
            "ends": drain is not None and drain.stops,
            "drain_left_s": _rounded(left_s),
        }

    def _worker(self, worker: WorkerFacts, jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        suspended = {
            service for worker_id, service in self.loop.parts.recovery.suspended if worker_id == worker.worker_id
        }
        healthy = worker.capability.get("services", ())
        services = [_service(service, None, suspended) for service in healthy]
        services += [_service(service, reason, suspended) for service, reason in worker.suspended.items()]
        return {
            "worker_id": worker.worker_id,
            "gpu": worker.capability.get("gpu"),
            "services": services,
            "jobs": [job["job_id"] for job in jobs if job["worker_id"] == worker.worker_id],
        }

    def _jobs(self, standing: Standing) -> list[dict[str, Any]]:
        outcomes = {outcome.attempt: outcome for outcome in standing.undelivered}
        return [self._job(held, outcomes.get(held.attempt)) for held in standing.held]

    def _job(self, held: Held, outcome: Outcome | None) -> dict[str, Any]:
        """A held job; its service is unknown for a moment between two phases."""
        return {
            "job_id": held.attempt.job_id,
            "fence": held.attempt.fence,
            "worker_id": held.worker_id,
            "pool": held.pool,
            "phase": held.phase.value,
            **self._running(held.attempt),
            **({} if outcome is None else _ended(outcome)),
        }

    def _running(self, attempt: AttemptKey) -> dict[str, Any]:
        under_way = self.loop.parts.attempts.under_way.get(attempt)
        if under_way is None:
            return {"service": None, "run_s": None, "progress": None}
        run_s = self.loop.parts.clock.monotonic_s() - under_way.started_at_s
        return {
            "service": under_way.claimed.spec.get("service"),
            "run_s": _rounded(run_s),
            "progress": _told(under_way.progress),
        }

    def _spool(self, undelivered: Sequence[Outcome]) -> dict[str, Any]:
        size_bytes = sum(output.bytes for outcome in undelivered for output in outcome.outputs)
        return {"results": len(undelivered), "bytes": size_bytes, "shortage": self.loop.parts.room.shortage or None}


def _service(service: str, reason: str | None, suspended: set[str]) -> dict[str, Any]:
    """`healthy`: its own health check passes; `suspended`: the store hands out no jobs of it."""
    is_suspended = service in suspended
    why = reason or (SUSPENDED if is_suspended else None)
    return {"service": service, "healthy": reason is None, "suspended": is_suspended, "reason": why}


def _told(progress: Progress | None) -> dict[str, Any] | None:
    """Without the picture."""
    if progress is None:
        return None
    told: dict[str, Any] = msgspec.to_builtins(progress)
    told.pop("preview", None)
    return told


def _ended(outcome: Outcome) -> dict[str, Any]:
    return {"service": outcome.service, "run_s": outcome.run_ms / 1000}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
