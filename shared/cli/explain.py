"""`muster explain`: who could run a job, and what keeps the others from it.

A question that names no service is asked for each service that the pool's workers have.
"""

from typing import Any

import click

from shared.cli.exits import usage
from shared.cli.options import Asking, asking, json_object, pairs, read_json
from shared.cli.output import plain, print_json
from shared.client import Hub

__all__ = ["explain"]

EXAMPLES = """\b
Examples:
  muster explain default-01HZX3...
  muster explain --worker gpu-7-0
  muster explain --requires '{"gpu.memory_gb": 24}'
  muster explain --service comfyui --requires '{"gpu.memory_gb": 24}'"""

#: asked about where no worker is registered
ANY_SERVICE = "simulation"

#: a job that is only asked about needs a payload that its service takes
STAND_IN_PAYLOADS: dict[str, dict[str, Any]] = {
    "comfyui": {"prompt": {"1": {"class_type": "EmptyImage", "inputs": {}}}},
    "command": {"program": "true"},
}


@click.command(epilog=EXAMPLES)
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--worker", "worker_id", metavar="ID", help="Ask what this worker could run of what waits.")
@click.option("--service", help="Ask about a job for it that isn't submitted.  [each one the workers have]")
@click.option("--requires", metavar="JSON", help="What its worker must have.")
@click.option("--model", help="Model its worker must have, where it lists models.")
@click.option("--customer", "customer_id", metavar="ID", help="Whose job it would be.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be given often.")
@click.option("--payload", metavar="FILE", help="Its payload, checked as well; - for standard input.")
@click.option("--pool", help="Pool, else the key's own.")
@asking
def explain(asking: Asking, *, job_id: str | None, worker_id: str | None, **options: Any) -> None:
    """Say which workers could run a job, and why the others can't: a job by its ID, or one not yet submitted.

    Or, with --worker, which waiting jobs a worker could run.
    """
    check_question(job_id, worker_id, options)
    if worker_id is not None:
        told = asking.run(lambda hub: hub.fleet.explain(worker_id, options["pool"]))
        (print_json if asking.as_json else tell_of_worker)(told)
        return
    if job_id is not None:
        found = asking.run(lambda hub: hub.jobs.explain(job_id))
    elif options["service"] is not None:
        draft = described(options)
        found = asking.run(lambda hub: hub.jobs.check(draft))
    else:
        found = asking.run(lambda hub: for_each_service(hub, options))
    if asking.as_json:
        print_json(found)
        return
    for service, one in found.get("services", {"": found}).items():
        if service:
            click.echo(f"for {plain(service)}:")
        tell(one)


def check_question(job_id: str | None, worker_id: str | None, options: dict[str, Any]) -> None:
    """Raises: UsageError, when it isn't one question."""
    about_a_draft = any(value for name, value in options.items() if name != "pool")
    if [job_id is not None, worker_id is not None, about_a_draft].count(True) != 1:
        raise usage("give either a job's ID, --worker, or --requires, --service or others of a job not submitted")
    if options["payload"] and options["service"] is None:
        raise usage("--payload goes with --service: each service has its own kind of payload")


async def for_each_service(hub: Hub, options: dict[str, Any]) -> dict[str, Any]:
    """The answers by service: `{"services": {"comfyui": {...}}}`. Raises: MusterError."""
    services: set[str] = set()
    async for worker in hub.fleet.workers(pool=options["pool"]):
        services |= {*worker.capability.get("services", ()), *worker.suspended}
    drafts = {service: described({**options, "service": service}) for service in sorted(services) or [ANY_SERVICE]}
    return {"services": {service: await hub.jobs.check(draft) for service, draft in drafts.items()}}


def described(options: dict[str, Any]) -> dict[str, Any]:
    """The job asked about. Raises: UsageError."""
    file, requires, labels = (options[name] for name in ("payload", "requires", "labels"))
    document = {
        **options,
        "payload": read_json("--payload", file) if file else STAND_IN_PAYLOADS.get(options["service"]),
        "requires": json_object("--requires", requires),
        "labels": pairs("--label", labels),
    }
    return {name: value for name, value in document.items() if value is not None and value != {}}


def tell(found: dict[str, Any]) -> None:
    """The answer for people."""
    counts: dict[str, int] = found.get("workers", {})
    able = {word: number for word, number in counts.items() if number and word != "cannot"}
    words = ", ".join(f"{number} {word}" for word, number in able.items())
    if "state" in found:
        click.echo(f"state: {plain(found['state'])}")
    if "position" in found:
        at_least = "" if found.get("position_exact", True) else "at least "
        click.echo(f"position: {at_least}{found['position']} among what these workers could take")
    click.echo(f"can run it: {words}" if able else "can run it: no registered worker")
    for reason in found.get("reasons", ()):
        number = reason["workers"]
        click.echo(f"{number} {'worker' if number == 1 else 'workers'} can't: {plain(reason['why']['text'])}")
    if nearest := found.get("nearest"):
        click.echo(f"nearest: {plain(nearest['text'])}")
    for warning in found.get("warnings", ()):
        click.echo(f"note: {plain(warning)}")
    if not found.get("complete", True):
        click.echo(f"note: only {found.get('checked')} workers were asked")


def tell_of_worker(found: dict[str, Any]) -> None:
    """A worker's answer for people."""
    click.echo(f"state: {plain(found['state'])}")
    click.echo(f"could run: {counted(found['jobs'], 'waiting job')}")
    for one in found["waiting"]:
        click.echo(f"  {plain(one['service'])}: {counted(one['jobs'], 'job')}, first {plain(one['first_job_id'])}")
    for reason in found["reasons"]:
        click.echo(f"not {counted(reason['jobs'], 'job')}: {plain(reason['why']['text'])}")
    for warning in found["warnings"]:
        click.echo(f"note: {plain(warning)}")
    if not found["complete"]:
        click.echo("note: not all that waits was looked at")


def counted(number: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
