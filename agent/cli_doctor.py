"""`muster-agent doctor`: shows what the checks found."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli_settings import exiting, is_root, settings_of
from agent.config import AgentConfig, state_dir
from agent.options import with_settings
from shared import log
from shared.errors import MusterError, Unavailable
from shared.exits import ExitCode

if TYPE_CHECKING:
    from agent.doctor.finding import Finding, Subject

__all__ = ["doctor"]


@click.command(
    epilog="""\b
Examples:
  muster-agent doctor
  muster-agent doctor --services comfyui
  muster-agent doctor --json | jq '.checks[] | select(.verdict != "ok")'

Exit code 1: something fails. A warning is none.
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_settings()
def doctor(file: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Check all that an agent needs, each service with a real tiny job, and say what to do. Takes under a minute."""
    from agent.doctor.examination import examine
    from agent.doctor.finding import Verdict

    log.configure("agent", level="critical")
    with exiting():
        findings = asyncio.run(examine(_subject(settings_of(file, flags))))
    is_ok = all(one.verdict is not Verdict.FAIL for one in findings)
    _show(findings, is_ok=is_ok, as_json=as_json)
    if not is_ok:
        raise SystemExit(ExitCode.FAILED)


def _subject(config: AgentConfig) -> "Subject":
    from agent.doctor.finding import Subject
    from agent.identity import load_identity

    folder = state_dir(config, environ=os.environ, root=is_root())
    is_running, busy = _running(folder)
    return Subject(
        config=config,
        environ=os.environ,
        state_dir=folder,
        identity=load_identity(folder),
        busy_services=busy,
        is_running=is_running,
    )


def _running(folder: Path) -> tuple[bool | None, frozenset[str]]:
    """Is an agent at work there, and on which services? None: it can't be asked."""
    from agent.control_client import ask

    try:
        jobs = ask(folder, "status")["jobs"]
    except Unavailable:
        return False, frozenset()
    except MusterError:
        return None, frozenset()
    return True, frozenset(job["service"] for job in jobs if job["service"])


def _show(findings: "Sequence[Finding]", *, is_ok: bool, as_json: bool) -> None:
    from shared.cli import output

    if as_json:
        checks = [
            {"check": one.check, "verdict": one.verdict, "seen": one.seen, "remedy": one.remedy or None}
            for one in findings
        ]
        output.print_json({"ok": is_ok, "checks": checks})
        return
    for one in findings:
        click.echo(f"{one.verdict:<4}  {one.check:<18}  {output.plain(one.seen)}")
        if one.remedy:
            click.echo(f"{'':<26}→ {output.plain(one.remedy)}")
