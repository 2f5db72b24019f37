"""`muster submit`: from options and files to a job."""

from pathlib import Path
from typing import Any

import click
import msgspec

from shared.cli.exits import usage
from shared.cli.options import Asking, asking, json_object, pairs, read_json
from shared.cli.output import print_json
from shared.cli.waiting import wait_and_save, warn_if_unworkable
from shared.client import Hub

__all__ = ["submit"]

EXAMPLES = """\b
Examples:
  muster submit simulation --wait
  muster submit comfyui --payload workflow.json --wait --out out/
  muster submit comfyui --payload - --input face.png=./me.png --requires '{"gpu.memory_gb": 16}' < workflow.json
  muster submit command --payload convert.json --input in.png=./a.png --label team=render --priority 80"""


@click.command(epilog=EXAMPLES)
@click.argument("service")
@click.option("--payload", metavar="FILE", help="What the service is to do: a JSON file, - for standard input.  [{}]")
@click.option("--requires", metavar="JSON", help="What the worker must have.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=PATH|URL", help="A file for the job, by its name.")
@click.option("--model", help="Model the worker must have, where it lists models.")
@click.option("--priority", type=click.IntRange(0, 1000), help="Higher first.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be given often.")
@click.option("--customer", "customer_id", metavar="ID", help="Whose job it is.")
@click.option("--pool", help="Pool, else the key's own.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Of an attempt.")
@click.option("--max-attempts", type=click.IntRange(1, 100), help="How often it is tried.")
@click.option("--delay", "delay_s", type=click.FloatRange(min=0), metavar="S", help="Not before so many seconds.")
@click.option("--idempotency-key", metavar="K", help="Submits once in 24 h, however often it is sent.")
@click.option("--wait", is_flag=True, help="Watch it run, save its files; exit code 1 when it doesn't complete.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where to save.  [./out/<job id>]")
@asking
def submit(asking: Asking, *, wait: bool, out: Path | None, **options: Any) -> int:
    """Submit a job to SERVICE, such as comfyui, command or simulation. Prints its id."""
    if out is not None and not wait:
        raise usage("--out goes with --wait: without it nothing is saved")
    document, files = described(options)

    async def submitted(hub: Hub) -> int:
        inputs = [{"name": name, **await located(hub, place)} for name, place in files.items()]
        job = await hub.jobs.submit(document | ({"inputs": inputs} if inputs else {}))
        if wait:
            click.echo(f"job {job.id}", err=True)
            await warn_if_unworkable(hub, job)
            return await wait_and_save(hub, job.id, out or Path("out") / job.id, as_json=asking.as_json)
        if asking.as_json:
            print_json(msgspec.to_builtins(job))
        else:
            click.echo(job.id)
        await warn_if_unworkable(hub, job)
        return 0

    return asking.run(submitted)


def described(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The job's document without its inputs, and these by name. Raises: UsageError."""
    payload, requires = options.pop("payload"), options.pop("requires")
    files = pairs("--input", options.pop("inputs"))
    for name, place in files.items():
        if not is_url(place) and not Path(place).is_file():
            raise usage(f"--input {name}: {place} is no file")
    document = {
        **options,
        "payload": read_json("--payload", payload) if payload else {},
        "requires": json_object("--requires", requires),
        "labels": pairs("--label", options.pop("labels")),
    }
    return {name: value for name, value in document.items() if value is not None and value != {}}, files


async def located(hub: Hub, place: str) -> dict[str, str]:
    """Where the job finds an input: its address, or the artifact it was uploaded as."""
    if is_url(place):
        return {"url": place}
    return {"artifact": (await hub.files.upload(Path(place))).id}


def is_url(place: str) -> bool:
    """Is it an address rather than a path?"""
    return place.startswith(("http://", "https://"))
