"""`muster explain`: who could run a job, and what keeps the others from it."""

from typing import Any

import click

from shared.cli.exits import usage
from shared.cli.options import Asking, asking, json_object, pairs, read_json
from shared.cli.output import plain, print_json

__all__ = ["explain"]

EXAMPLES = """\b
Examples:
  muster explain default-01HZX3...
  muster explain --service comfyui --requires '{"gpu.memory_gb": 24}'"""

#: a job that is only asked about needs a payload that its service takes
STAND_IN_PAYLOADS: dict[str, dict[str, Any]] = {
    "comfyui": {"prompt": {"1": {"class_type": "EmptyImage", "inputs": {}}}},
    "command": {"program": "true"},
}


@click.command(epilog=EXAMPLES)
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--service", help="Ask about a job for it that isn't submitted.")
@click.option("--requires", metavar="JSON", help="What its worker must have.")
@click.option("--model", help="Model its worker must have, where it lists models.")
@click.option("--customer", "customer_id", metavar="ID", help="Whose job it would be.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be given often.")
@click.option("--payload", metavar="FILE", help="Its payload, checked as well; - for standard input.")
@click.option("--pool", help="Pool, else the key's own.")
@asking
def explain(asking: Asking, *, job_id: str | None, **options: Any) -> None:
    """Say which workers could run a job, and why the others can't: a job by its ID, or one not yet submitted."""
    if (job_id is None) == (options["service"] is None):
        raise usage("give either a job's ID or --service")
    if job_id is not None:
        found = asking.run(lambda hub: hub.jobs.explain(job_id))
    else:
        draft = described(options)
        found = asking.run(lambda hub: hub.jobs.check(draft))
    if asking.as_json:
        print_json(found)
    else:
        tell(found)


def described(options: dict[str, Any]) -> dict[str, Any]:
    """The job asked about. Raises: UsageError."""
    file, service = options.pop("payload"), options["service"]
    document = {
        **options,
        "payload": read_json("--payload", file) if file else STAND_IN_PAYLOADS.get(service),
        "requires": json_object("--requires", options.pop("requires")),
        "labels": pairs("--label", options.pop("labels")),
    }
    return {name: value for name, value in document.items() if value is not None and value != {}}


def tell(found: dict[str, Any]) -> None:
    """The answer for people."""
    counts: dict[str, int] = found.get("workers", {})
    able = {word: number for word, number in counts.items() if number and word != "cannot"}
    words = ", ".join(f"{number} {word}" for word, number in able.items())
    if "state" in found:
        click.echo(f"state: {plain(found['state'])}")
    click.echo(f"can run it: {words}" if able else "can run it: no registered worker")
    for reason in found.get("reasons", ()):
        number = reason["workers"]
        click.echo(f"{number} {'worker' if number == 1 else 'workers'} can't: {plain(reason['why']['text'])}")
    for warning in found.get("warnings", ()):
        click.echo(f"note: {plain(warning)}")
    if not found.get("complete", True):
        click.echo(f"note: only {found.get('checked')} workers were asked")
