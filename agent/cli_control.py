"""`muster-agent status`, `drain`, `resume`, `reload`: asks the agent that runs on this machine.

Tables are loaded when they are shown: the agent itself must stay small.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from agent.cli_settings import exiting, state_dir_of
from agent.control_client import ask
from agent.options import with_settings

__all__ = ["drain", "reload", "resume", "status"]

#: between two looks while waiting, in seconds
LOOK_S = 0.5

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
#: fields of a trouble that have columns of their own
NAMED = frozenset({"at", "level", "event"})


@click.command(epilog="\b\nExamples:\n  muster-agent status\n  muster-agent status --json | jq .jobs\n")
@with_settings("state_dir")
@JSON
def status(file: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Show the running agent: workers, services, jobs, what waits to be delivered, last errors. 69: none runs."""
    from shared.cli import output

    with exiting():
        document = ask(state_dir_of(file, flags), "status")
        if as_json:
            output.print_json(document)
        else:
            _show(document)


@click.command(epilog="\b\nExamples:\n  muster-agent drain\n  muster-agent drain --wait && reboot\n")
@with_settings("state_dir")
@click.option("--wait", is_flag=True, help="Return when nothing is held any more.")
@JSON
def drain(file: Path | None, *, wait: bool, as_json: bool, **flags: Any) -> None:
    """Let the running agent finish what it holds, and take no more jobs. It goes on running. 69: none runs."""
    with exiting():
        state_dir = state_dir_of(file, flags)
        answer = ask(state_dir, "drain")
        while wait and answer["held"]:
            time.sleep(LOOK_S)
            answer = {**answer, "held": len(ask(state_dir, "status")["jobs"])}
        _say(answer, f"draining; {answer['held']} jobs held", as_json=as_json)


@click.command(epilog="\b\nExample:\n  muster-agent resume\n")
@with_settings("state_dir")
@JSON
def resume(file: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Let the running agent take jobs again, whoever drained it. 69: none runs."""
    with exiting():
        _say(ask(state_dir_of(file, flags), "resume"), "it takes jobs again", as_json=as_json)


@click.command(epilog="\b\nExample:\n  muster-agent reload\n")
@with_settings("state_dir")
@JSON
def reload(file: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Let the running agent read its settings again, as SIGHUP does. 78: they are wrong and nothing changed; 69: none.

    It reads the file it was started with, and the environment and flags of then.
    """
    with exiting():
        answer = ask(state_dir_of(file, flags), "reload")
        changed = ", ".join(answer["changed"]) or "nothing"
        fixed = answer["needs_restart"]
        rest = f"\nno effect yet: {', '.join(fixed)}: {answer['remedy']}" if fixed else ""
        _say(answer, f"changed: {changed}{rest}", as_json=as_json)


def _say(answer: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(answer))
        return
    click.echo(text)
    if answer.get("warning"):
        click.echo(f"muster-agent: {answer['warning']}", err=True)


def _show(document: Mapping[str, Any]) -> None:
    from shared.cli import output

    output.print_sheet(_facts(document))
    click.echo()
    output.print_table(["WORKER", "GPU", "SERVICE", "STATE", "REASON"], _service_rows(document), empty="no workers")
    click.echo()
    output.print_table(["JOB", "WORKER", "SERVICE", "PHASE", "RUNS", "PROGRESS"], _job_rows(document), empty="no jobs")
    if document["errors"]:
        click.echo()
        output.print_table(["AT", "LEVEL", "EVENT", "MORE"], _error_rows(document["errors"]), empty="")


def _facts(document: Mapping[str, Any]) -> dict[str, object]:
    from shared.cli import output

    spool = document["spool"]
    return {
        "agent": document["agent_id"],
        "version": document["version"],
        "pid": document["pid"],
        "up": output.age(document["started_at_ms"]),
        "state": document["state_dir"],
        "pools": ", ".join(document["pools"]),
        "store": _store(document),
        "jobs": _intake(document),
        "spool": f"{spool['results']} results, {output.size(spool['bytes'])}",
    }


def _store(document: Mapping[str, Any]) -> str:
    if document["outage_s"] is not None:
        return f"away for {document['outage_s']:.0f} s ({document['transport']})"
    return f"{'connected' if document['connected'] else 'not asked yet'} ({document['transport']})"


def _intake(document: Mapping[str, Any]) -> str:
    if document["draining"]:
        then = ", then it ends" if document["ends"] else ""
        return f"draining: takes none; those that run have {document['drain_left_s']:.0f} s{then}"
    shortage = document["spool"]["shortage"]
    return f"takes none: {shortage}" if shortage else "takes them"


def _service_rows(document: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for worker in document["workers"]:
        gpu = worker["gpu"] or {}
        name = gpu.get("model") or ("yes" if gpu else None)
        if not worker["services"]:
            yield worker["worker_id"], name, None, None, "no service was found"
        for one in worker["services"]:
            state = "suspended" if one["suspended"] or not one["healthy"] else "healthy"
            yield worker["worker_id"], name, one["service"], state, one["reason"]


def _job_rows(document: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for job in document["jobs"]:
        run = None if job["run_s"] is None else f"{job['run_s']:.0f}s"
        yield job["job_id"], job["worker_id"], job["service"], job["phase"], run, _progress(job["progress"])


def _progress(progress: Mapping[str, Any] | None) -> str | None:
    if progress is None:
        return None
    share = "" if progress.get("value") is None else f"{progress['value']:.0%} "
    return f"{share}{progress.get('message') or ''}".strip()


def _error_rows(errors: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[object]]:
    for one in errors:
        yield one.get("at"), one.get("level"), one.get("event"), {key: one[key] for key in one if key not in NAMED}
