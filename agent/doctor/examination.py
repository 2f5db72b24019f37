"""All checks, made at once."""

import asyncio
from collections.abc import Sequence

from agent.doctor.disk import look_at_disk
from agent.doctor.finding import Check, Finding, Subject, made
from agent.doctor.gpu import look_at_gpus
from agent.doctor.hub import look_at_hub
from agent.doctor.process import look_at_process
from agent.doctor.services import SERVICES_LIMIT_S, look_at_services
from agent.doctor.store import look_at_store

__all__ = ["CHECKS", "examine"]

#: in the order in which they are shown; together they take as long as the longest, under a minute
CHECKS = (
    Check(name="hub", look=look_at_hub),
    Check(name="store", look=look_at_store),
    Check(name="gpu", look=look_at_gpus, limit_s=30.0),
    Check(name="services", look=look_at_services, limit_s=SERVICES_LIMIT_S),
    Check(name="disk", look=look_at_disk),
    Check(name="process", look=look_at_process),
)


async def examine(subject: Subject, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """What all checks find, in their order."""
    found = await asyncio.gather(*(made(check, subject) for check in checks))
    return [finding for findings in found for finding in findings]
