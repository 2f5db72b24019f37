"""Gauges of a pool's classes: the guard against too many of them. Read from the store at most once a minute."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from shared.clock import Clock
from shared.store.classes import Classes, ClassFigures

__all__ = ["ClassGauges"]

#: figures are this old at most
FRESH_S = 60.0


class ClassGauges:
    """The gauges, in a registry.

    Args:
        registry: where they are kept.
        clock: the time.
    """

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._read_at_s: dict[str, float] = {}
        self._job_classes = Gauge("muster_job_classes", "Classes of jobs.", ["pool"], registry=registry)
        self._worker_classes = Gauge("muster_worker_classes", "Classes of workers.", ["pool"], registry=registry)
        self._largest = Gauge("muster_class_jobs_max", "Jobs of the largest class.", ["pool"], registry=registry)
        self._average = Gauge("muster_class_jobs_average", "Jobs of a class.", ["pool"], registry=registry)
        self._split = Gauge(
            "muster_class_split",
            "Different things wanted at the path that splits jobs into the most classes.",
            ["pool", "path"],
            registry=registry,
        )

    async def read(self, classes: Classes, pools: Iterable[str]) -> None:
        """Bring them up to date. Raises: Unavailable."""
        now_s = self._clock.monotonic_s()
        old = [pool for pool in pools if now_s - self._read_at_s.get(pool, -FRESH_S) >= FRESH_S]
        found = {pool: await classes.figures(pool) for pool in old}
        for pool, figures in found.items():
            self._read_at_s[pool] = now_s
            self._set(pool, figures)

    def _set(self, pool: str, figures: ClassFigures) -> None:
        self._job_classes.labels(pool).set(figures.job_classes)
        self._worker_classes.labels(pool).set(figures.worker_classes)
        self._largest.labels(pool).set(figures.largest)
        self._average.labels(pool).set(figures.average)
        self._split.remove_by_labels({"pool": pool})
        if figures.split is not None:
            self._split.labels(pool, figures.split.path).set(figures.split.values)
