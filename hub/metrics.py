"""Figures for Prometheus, in a registry of their own.

- Requests are counted by route template, never by address: ids make no series.
- Jobs and workers are read from the store when asked, so that every hub says the same.
"""

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hub.class_gauges import ClassGauges
from shared.clock import Clock
from shared.errors import Unavailable
from shared.store.classes import Classes
from shared.store.fleet import Fleet
from shared.store.pools import Pools

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
WORKER_PAGE = 1_000
WORKER_PAGES = 10


class Metrics:
    """Counts requests; reads the rest.

    Args:
        version: the hub's.
        clock: the time.
    """

    def __init__(self, version: str, clock: Clock) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answers by route and status.", ["method", "route", "status"])
        self._seconds = Histogram(
            "muster_http_request_seconds",
            "Time from a request's arrival to the head of its answer.",
            ["method", "route"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._jobs = self._gauge("jobs", "Jobs that are kept, by state.", ["pool", "service", "state"])
        self._workers = self._gauge("workers", "Registered workers, by state.", ["pool", "state"])
        self._classes = ClassGauges(self._registry, clock)
        self._store_up = self._gauge("store_up", "1: the store answered this scrape.", [])
        self._gauge("hub", "The hub's version.", ["version"]).labels(version).set(1)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    async def text(self, fleet: Fleet, pools: Pools, classes: Classes) -> bytes:
        """All figures in Prometheus' text format; without the store's when it is down."""
        self._jobs.clear()
        self._workers.clear()
        try:
            names = sorted(await pools.names())
            for pool in names:
                await self._read_pool(fleet, pool)
            await self._classes.read(classes, names)
            self._store_up.set(1)
        except Unavailable:
            self._store_up.set(0)
        return generate_latest(self._registry)

    async def _read_pool(self, fleet: Fleet, pool: str) -> None:
        for (service, state), number in (await fleet.counts(pool)).items():
            self._jobs.labels(pool, service, state).set(number)
        for state, number in (await _workers_by_state(fleet, pool)).items():
            self._workers.labels(pool, state).set(number)

    def _gauge(self, name: str, text: str, labels: Iterable[str]) -> Gauge:
        return Gauge(f"muster_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Counter:
        return Counter(f"muster_http_{name}", text, labels, registry=self._registry)


async def _workers_by_state(fleet: Fleet, pool: str) -> Tally[str]:
    tally: Tally[str] = Tally()
    cursor: str | None = None
    for _ in range(WORKER_PAGES):
        page, cursor = await fleet.workers(pool, cursor=cursor, limit=WORKER_PAGE)
        tally.update(worker.state.value for worker in page)
        if cursor is None:
            break
    return tally
