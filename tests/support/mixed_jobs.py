"""Jobs of every kind, some with a fault that their service is to make; and how each of them has to end. Pure.

A job carries a mark to its service, such as `soak=17=hang=always=late;`: the service makes the fault when it sees it.

- `always`: the only attempt meets the fault, so the job fails with the class that this fault has for this kind.
- `once`: the first attempt meets it, another one doesn't: the job completes.
"""

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.support.comfyui_standin import graph

__all__ = ["BIG_BYTES", "KINDS", "Expected", "Fault", "Mark", "MixedJob", "content_of", "mark_in", "mixed_jobs"]


class Fault(StrEnum):
    """What a service does to a job."""

    #: dies of SIGKILL: as soon as it is asked, or late, while it works on the job
    CRASH = "crash"
    #: never answers; the job's `timeout_s` ends it, late: its `stall_s`
    HANG = "hang"
    #: answers something that isn't JSON
    GARBAGE = "garbage"
    #: ends its own direction of the connection before its answer is whole, and keeps the other open
    HALF_CLOSED = "half_closed"
    #: once: the answer comes a few bytes at a time; always: it never ends
    SLOW = "slow"
    ERROR = "error_500"
    #: what it made is larger than the disk of the agent
    DISK_FULL = "disk_full"


WEB = ("comfyui", "render", "openai", "call")
#: kind → of 20 jobs so many
KINDS = {"comfyui": 4, "render": 3, "openai": 4, "call": 3, "command": 2, "simulation": 4}
#: fault → the kinds that can have it
HIT = {
    Fault.CRASH: (*WEB, "command"),
    Fault.HANG: (*WEB, "command", "simulation"),
    Fault.GARBAGE: (*WEB, "command"),
    Fault.HALF_CLOSED: WEB,
    Fault.SLOW: WEB,
    Fault.ERROR: (*WEB, "command", "simulation"),
    Fault.DISK_FULL: ("comfyui", "render", "command", "simulation"),
}
#: where a kind isn't named, its faults are of class `service`
CLASSES = {
    **{(kind, fault): "network" for kind in WEB for fault in (Fault.CRASH, Fault.HALF_CLOSED)},
    **{(kind, Fault.SLOW): "timeout" for kind in WEB},
}
#: a service that asks for its job after the crash is told that it was forgotten
FORGETFUL = ("comfyui", "render")
#: more than the agent's disk has
BIG_BYTES = 64 << 20
PATIENCE_S = 2.0
PATTERN_BYTES = 65_536
MARK = re.compile(rb"soak=(\d+)=(\w*)=(once|always)=(early|late);")


@dataclass(frozen=True)
class Mark:
    """What a job tells its service."""

    number: int
    fault: Fault | None = None
    is_always: bool = False
    is_late: bool = False

    def __str__(self) -> str:
        words = "always" if self.is_always else "once", "late" if self.is_late else "early"
        return f"soak={self.number}={self.fault or ''}={'='.join(words)};"


def mark_in(text: bytes) -> Mark | None:
    """The mark in a request; None: there is none."""
    found = MARK.search(text)
    if found is None:
        return None
    fault = Fault(found[2].decode()) if found[2] else None
    return Mark(int(found[1]), fault, is_always=found[3] == b"always", is_late=found[4] == b"late")


@dataclass(frozen=True)
class Expected:
    """How a job has to end."""

    state: str = "completed"
    failure_class: str | None = None
    #: name → SHA-256; ComfyUI's names are its own
    outputs: dict[str, str] = field(default_factory=dict)
    #: what must stand in the values
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MixedJob:
    """A job and its end."""

    mark: Mark
    kind: str
    document: dict[str, Any]
    expected: Expected


def content_of(number: int) -> bytes:
    """The output of a job: its own, and of some kilobytes."""
    return hashlib.shake_128(f"job {number}".encode()).digest(1000 + number % 20_000)


def mixed_jobs(
    count: int, share: float, *, dice: random.Random, places: int, made: Path, faults: Sequence[Fault] = tuple(Fault)
) -> list[MixedJob]:
    """So many jobs, in any order.

    Args:
        count: of all.
        share: of each fault.
        dice: the order.
        places: how many services of a word of their own (`render-0`) there are.
        made: folder where a fault that was made is kept, a file a job.
        faults: those that are made.
    """
    each = round(count * share)
    hits = [_hit(fault, number) for fault in faults for number in range(each)]
    usual = [kind for kind, weight in KINDS.items() for _ in range(weight)]
    rest = [(usual[number % len(usual)], Mark(0)) for number in range(count - len(hits))]
    drawn = [*hits, *rest]
    dice.shuffle(drawn)
    numbered = [
        (kind, Mark(number, mark.fault, is_always=mark.is_always, is_late=mark.is_late))
        for number, (kind, mark) in enumerate(drawn)
    ]
    return [_job(kind, mark, place=mark.number % places, made=made) for kind, mark in numbered]


def _hit(fault: Fault, number: int) -> tuple[str, Mark]:
    """Kinds in turn; by rounds always and once, by two of them early and late."""
    kinds = HIT[fault]
    round_, at = divmod(number, len(kinds))
    is_always = round_ % 2 == 0 or kinds[at] == "simulation"
    return kinds[at], Mark(0, fault, is_always=is_always, is_late=(round_ // 2 + at) % 2 == 1)


def _job(kind: str, mark: Mark, *, place: int, made: Path) -> MixedJob:
    service = f"{kind}-{place}" if kind in {"render", "call"} else kind
    terms: dict[str, Any] = {"max_attempts": 20, "backoff": {"base_s": 0.5, "cap_s": 5}}
    if mark.is_always:
        terms = {"max_attempts": 1}
    if mark.fault is Fault.HANG:
        terms["stall_s" if mark.is_late else "timeout_s"] = PATIENCE_S
    if mark.fault is Fault.SLOW and mark.is_always:
        terms["timeout_s"] = PATIENCE_S
    payload = PAYLOADS[kind](mark, made)
    return MixedJob(mark, kind, {"service": service, "payload": payload, **terms}, _expected(kind, mark))


# -- what goes in ----------------------------------------------------------------------------------------------------


def _comfyui(mark: Mark, _: Path) -> dict[str, Any]:
    wanted = graph("success")
    wanted["1"]["_meta"] = {"title": str(mark)}
    return {"prompt": wanted}


def _over_http(mark: Mark, _: Path) -> dict[str, Any]:
    return {"mark": str(mark)}


def _openai(mark: Mark, _: Path) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": str(mark)}]}


#: what a program does as its fault
PROGRAMS = {
    Fault.CRASH: "kill -9 $$",
    Fault.HANG: "sleep 600",
    Fault.GARBAGE: "head -c 3000 /dev/urandom",
    Fault.ERROR: "exit 3",
    Fault.DISK_FULL: f"head -c {BIG_BYTES} /dev/zero > big || exit 1",
}


def _command(mark: Mark, made: Path) -> dict[str, Any]:
    script = 'printf %s "$1" > out.txt'
    if mark.fault is not None:
        fault = f'{{ echo made >> "$2"; {PROGRAMS[mark.fault]}; }}'
        script = f"{fault}; {script}" if mark.is_always else f'[ -e "$2" ] || {fault}; {script}'
    arguments = ["-c", script, "soak", str(mark), str(made / str(mark.number))]
    return {"program": "sh", "args": arguments, "outputs": ["out.txt"]}


def _simulation(mark: Mark, _: Path) -> dict[str, Any]:
    size_bytes = BIG_BYTES if mark.fault is Fault.DISK_FULL else 5000
    duration_s = 600 if mark.fault is Fault.HANG else 0.02
    outputs = [{"name": f"{mark.number}.bin", "bytes": size_bytes}]
    fails = {"fail": "service"} if mark.fault is Fault.ERROR else {}
    return {"duration_s": duration_s, "steps": 1, "outputs": outputs, **fails}


PAYLOADS = {
    "comfyui": _comfyui,
    "render": _over_http,
    "openai": _openai,
    "call": _over_http,
    "command": _command,
    "simulation": _simulation,
}


# -- what comes out --------------------------------------------------------------------------------------------------


def _expected(kind: str, mark: Mark) -> Expected:
    harmless = kind == "command" and mark.fault is Fault.GARBAGE
    if mark.fault is not None and mark.is_always and not harmless:
        return Expected("failed", _class_of(kind, mark.fault, is_late=mark.is_late))
    name, number = str(mark), mark.number
    whole = _sha256(content_of(number))
    return {
        "comfyui": Expected(outputs={"*": whole}),
        "render": Expected(outputs={"output.bin": whole}),
        "openai": Expected(values={"text": name}),
        "call": Expected(values={"answer": name}),
        "command": Expected(outputs={"out.txt": _sha256(name.encode())}),
        "simulation": Expected(outputs={f"{number}.bin": _sha256(_simulated(f"{number}.bin", 5000))}),
    }[kind]


def _class_of(kind: str, fault: Fault, *, is_late: bool) -> str:
    if fault is Fault.HANG:
        return "stalled" if is_late else "timeout"
    if fault is Fault.CRASH and is_late and kind in FORGETFUL:
        return "service"
    return CLASSES.get((kind, fault), "service")


def _simulated(name: str, size_bytes: int) -> bytes:
    return hashlib.shake_128(name.encode()).digest(PATTERN_BYTES)[:size_bytes]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
