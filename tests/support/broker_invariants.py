"""What holds of a pool's keys at any moment, whatever was called: checked on a dump of the whole pool.

- A job is in one state and in exactly the lists of that state.
- One live lease per job, one job per worker; fences only grow; attempts stay within the limit.
- Classes count their jobs, heads show the visible classes and their first jobs.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from shared.store.job_record import JobRecord, decode_record
from shared.store.keys import known
from tests.support.broker_calls import Calls

__all__ = ["Dump", "History", "check", "dumped"]

FINAL = {"completed", "failed", "cancelled"}
WAITING = {"blocked", "scheduled", "pending"}


@dataclass
class Dump:
    """All of a pool: names without the pool's prefix."""

    values: dict[str, Any]

    def of(self, prefix: str) -> dict[str, Any]:
        """Keys that begin so, by what follows."""
        return {name.removeprefix(prefix): value for name, value in self.values.items() if name.startswith(prefix)}

    def zset(self, name: str) -> dict[str, float]:
        value: dict[str, float] = self.values.get(name, {})
        return value

    def records(self) -> dict[str, JobRecord]:
        found = {job_id: decode_record(text) for job_id, text in self.of("job:").items()}
        assert None not in found.values(), found
        return {job_id: record for job_id, record in found.items() if record is not None}


def dumped(calls: Calls) -> Dump:
    """Every key of the pool with its value."""
    names = sorted(_text(key) for key in calls.redis.keys(calls.key("*")))
    unknown = [name for name in names if not known(name)]
    assert not unknown, f"keys outside the catalogue: {unknown}"
    with calls.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name.encode(errors="surrogateescape"))
        kinds = dict(zip(names, pipe.execute(), strict=True))
        names = [name for name in names if kinds[name] != b"none"]  # its time ran out just now
        for name in names:
            READERS[kinds[name]](pipe, name.encode(errors="surrogateescape"))
        values = pipe.execute()
    prefix = calls.key("")
    return Dump({name.removeprefix(prefix): _plain(value) for name, value in zip(names, values, strict=True)})


READERS: dict[bytes, Any] = {
    b"string": lambda pipe, name: pipe.get(name),
    b"hash": lambda pipe, name: pipe.hgetall(name),
    b"set": lambda pipe, name: pipe.smembers(name),
    b"list": lambda pipe, name: pipe.lrange(name, 0, -1),
    b"zset": lambda pipe, name: pipe.zrange(name, 0, -1, withscores=True),
    b"stream": lambda pipe, name: pipe.xlen(name),
}


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _plain(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return {_text(member): score for member, score in value}
    if isinstance(value, dict):
        return {_text(name): _text(text) for name, text in value.items()}
    if isinstance(value, set):
        return {_text(member) for member in value}
    return value


@dataclass
class History:
    """What must not go backwards: fences, and the silence after a final event."""

    fences: dict[str, int] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    cursor: str = "0-0"

    def see(self, calls: Calls, dump: Dump) -> None:
        for job_id, record in dump.records().items():
            assert record.fence >= self.fences.get(job_id, 0), f"the fence of {job_id} went back"
            self.fences[job_id] = record.fence
        for cursor, event in calls.redis.xrange(calls.key("events"), f"({self.cursor}"):
            self.cursor = cursor.decode()
            self._event(event.get(b"job_id", b"").decode(), event[b"type"].decode())

    def _event(self, job_id: str, type_: str) -> None:
        if type_ in {"job.completed", "job.failed", "job.cancelled"}:
            assert job_id not in self.over, f"{job_id} ended twice"
            self.over.add(job_id)
        elif type_ != "job.pruned":
            assert job_id not in self.over, f"{type_} of {job_id} after its end"

    def reopen(self, job_id: str) -> None:
        """An operator took the job back: events may go on."""
        self.over.discard(job_id)


def check(dump: Dump) -> None:
    """Every invariant that needs no memory."""
    records = dump.records()
    _check_indexes(dump, records)
    _check_timers(dump, records)
    _check_leases(dump, records)
    _check_classes(dump, records)
    _check_heads(dump, records)
    _check_parked(dump)


def _check_indexes(dump: Dump, records: dict[str, JobRecord]) -> None:
    listed = {name: set(members) for name, members in dump.of("jobs:").items()}
    wanted: dict[str, set[str]] = {}
    for job_id, record in records.items():
        wanted.setdefault(f"{record.service}:{record.state}", set()).add(job_id)
    assert listed == wanted
    members = {job_id: class_ for class_, waiting in dump.of("waiting:").items() for job_id in _ids(waiting)}
    pending = {job_id: record.job_class for job_id, record in records.items() if record.state == "pending"}
    assert members == pending
    for job_id, record in records.items():
        if record.state == "pending":
            scores = {_id(member): score for member, score in dump.zset(f"waiting:{record.job_class}").items()}
            assert scores[job_id] == record.order == (1000 - record.priority) * 2**43 + record.order % 2**43


def _id(member: str) -> str:
    return member.rpartition(".")[2]


def _ids(waiting: dict[str, float]) -> list[str]:
    return [_id(member) for member in waiting]


def _check_timers(dump: Dump, records: dict[str, JobRecord]) -> None:
    timers = {member: score for member, score in dump.zset("timers").items() if _word(member) in TIMED}
    wanted: dict[str, Any] = {}
    for job_id, record in records.items():
        if record.state == "active":
            wanted[f"lease {job_id}"] = None
        if record.state == "scheduled":
            wanted[f"due {job_id}"] = record.due_at_ms
        if record.state in WAITING and record.expires_at_ms:
            wanted[f"expiry {job_id}"] = record.expires_at_ms
    assert timers.keys() == wanted.keys()
    for member, at in wanted.items():
        assert at is None or timers[member] == at, member
    prunes = {member.split(" ")[1] for member in dump.zset("chores") if _word(member) == "prune"}
    assert prunes == {job_id for job_id, record in records.items() if record.state in FINAL}


TIMED = {"lease", "due", "expiry"}


def _word(member: str) -> str:
    return member.split(" ", maxsplit=1)[0]


def _check_leases(dump: Dump, records: dict[str, JobRecord]) -> None:
    active = {job_id: record for job_id, record in records.items() if record.state == "active"}
    assert max(Counter(record.worker_id for record in active.values()).values(), default=0) <= 1
    workers = dump.of("worker:")
    holding = {name: worker["job_id"] for name, worker in workers.items() if "job_id" in worker}
    assert holding == {record.worker_id: job_id for job_id, record in active.items() if record.worker_id in workers}
    for job_id, record in records.items():
        assert 0 <= record.attempts <= max(record.max_attempts, 0), job_id


def _check_classes(dump: Dump, records: dict[str, JobRecord]) -> None:
    counts = Counter(record.job_class for record in records.values() if record.state not in FINAL)
    live = {name: int(class_.get("live", 0)) for name, class_ in dump.of("class:").items()}
    assert {name: count for name, count in live.items() if count} == dict(counts)
    unused = {member.split(" ")[1] for member in dump.zset("chores") if _word(member) == "class"}
    assert unused == {name for name, count in live.items() if not count}


def _check_heads(dump: Dump, records: dict[str, JobRecord]) -> None:
    """Where the service's pause hasn't been followed everywhere yet, heads may lag: claims look at the pause itself."""
    settling = {member.split(" ")[1] for member in dump.zset("timers") if _word(member) == "show"}
    services = {record.job_class: record.service for record in records.values()}
    hidden, paused = dump.zset("unworkable"), dump.values.get("paused", set())
    wanted = {
        class_: min(waiting.values())
        for class_, waiting in dump.of("waiting:").items()
        if class_ not in hidden and services[class_] not in paused | settling
    }
    heads: dict[str, float] = dict(dump.zset("heads"))
    for identity, more in dump.of("heads:").items():
        assert not heads.keys() & more.keys(), identity
        heads |= more
    assert {name: order for name, order in heads.items() if services.get(name) not in settling} == wanted


def _check_parked(dump: Dump) -> None:
    workers = dump.of("worker:")
    parked = dump.of("parked:")
    assert set(dump.zset("parked")) == set(parked)
    for class_, members in parked.items():
        assert all(workers[name]["class"] == class_ and "job_id" not in workers[name] for name in members)
    for name in dump.of("wclass-workers:").values():
        assert name <= workers.keys()
