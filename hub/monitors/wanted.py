"""Which events somebody wants. Pure."""

from collections.abc import Iterable

import msgspec

from shared.wire.views import Event

__all__ = ["Wanted", "topics_of"]


class Wanted(msgspec.Struct, frozen=True):
    """A choice of events: all that is given must hold; what is empty chooses nothing."""

    #: types, or what stands before their dot
    topics: tuple[str, ...] = ()
    job_ids: frozenset[str] = frozenset()
    worker_ids: frozenset[str] = frozenset()
    agent_ids: frozenset[str] = frozenset()

    def has(self, event: Event) -> bool:
        """Is the event among them?"""
        return (
            (not self.job_ids or event.job_id in self.job_ids)
            and (not self.worker_ids or event.worker_id in self.worker_ids)
            and (not self.agent_ids or event.agent_id in self.agent_ids)
            and (not self.topics or event.type in self.topics or event.type.partition(".")[0] in self.topics)
        )


def topics_of(named: Iterable[str]) -> tuple[str, ...]:
    """Topics as somebody wrote them."""
    return tuple(sorted({topic.strip() for topic in named if topic.strip()}))
