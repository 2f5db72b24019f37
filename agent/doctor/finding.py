"""What a check found, and how one is made without harm to the others.

- A check never raises, and never takes longer than its limit: both are findings.
- No secret stands in a finding, whatever an error said.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agent.config import AgentConfig
from agent.identity import Identity
from shared.errors import MusterError
from shared.log import without_secrets

__all__ = ["Check", "Finding", "Subject", "Verdict", "failed", "fine", "made", "warned"]


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: jobs run, but not as well as they could
    WARN = "warn"
    #: no job can run, or its result can't be kept
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    #: what was looked at: `store.latency`
    check: str
    verdict: Verdict
    seen: str
    #: what to do; empty: nothing
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at."""

    config: AgentConfig
    environ: Mapping[str, str]
    state_dir: Path
    #: None: not enrolled yet
    identity: Identity | None
    #: services that a running agent has a job on
    busy_services: frozenset[str] = frozenset()
    #: is an agent at work in the state directory? None: its socket can't be asked
    is_running: bool | None = False


@dataclass(frozen=True, kw_only=True)
class Check:
    """Looks at one thing."""

    #: stands in its findings where it can't make one itself
    name: str
    look: Callable[[Subject], Awaitable[Sequence[Finding]]]
    #: in seconds
    limit_s: float = 15.0


def fine(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, seen)


def warned(check: str, seen: str, remedy: str) -> Finding:
    """Jobs run, but not as well as they could."""
    return Finding(check, Verdict.WARN, seen, remedy)


def failed(check: str, seen: str, remedy: str) -> Finding:
    """Jobs can't run."""
    return Finding(check, Verdict.FAIL, seen, remedy)


async def made(check: Check, subject: Subject) -> list[Finding]:
    """What the check finds."""
    try:
        async with asyncio.timeout(check.limit_s):
            findings = await check.look(subject)
    except TimeoutError:
        findings = [failed(check.name, f"no answer within {check.limit_s:g} s", "see whether what it asks hangs")]
    except MusterError as error:
        findings = [failed(check.name, error.detail, "as it says")]
    except Exception as error:  # noqa: BLE001 - the top of a check: it must not keep the others from being made
        findings = [failed(check.name, f"the check itself failed unexpectedly: {type(error).__name__}", "report this")]
    return [Finding(one.check, one.verdict, without_secrets(one.seen), without_secrets(one.remedy)) for one in findings]
