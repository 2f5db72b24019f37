"""`muster up`: everything on this machine, until Ctrl-C."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import msgspec

from shared.cli.children import Slot
from shared.cli.fleet import gpu_of
from shared.cli.output import print_json, print_sheet
from shared.cli.trial import Started, Trial, TrialSettings
from shared.cli.trial_keys import write_client
from shared.client_config import client_file
from shared.config_paths import state_dir
from shared.errors import Conflict, Misconfigured

__all__ = ["up"]

#: what only the hub and the agent need
PARTS = ("litestar", "uvicorn", "psutil", "websockets")
SAMPLE = {"duration_s": 5, "steps": 20, "outputs": [{"name": "picture.png", "bytes": 20_000}]}


@click.command(epilog="\b\nExamples:\n  muster up\n  muster up --port 4000 --data-dir ./trial")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=3001, show_default=True, help="Port; 0 for any free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where all files are kept.")
@click.option("--store-bind", metavar="ADDR", help="Let agents of other machines reach the store on this address.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document once all is up.")
def up(*, data_dir: Path | None, as_json: bool, **options: Any) -> int:
    """Run a hub with its own store and one agent here, until Ctrl-C. A second Ctrl-C doesn't wait for jobs."""
    folder = (data_dir or state_dir("up", environ=os.environ)).absolute()
    check_installed()
    make_folders(folder)
    slot = Slot(folder / "up.lock")
    try:
        with slot.taken():
            slot.note(os.getpid())
            return asyncio.run(run(TrialSettings(folder, **options), as_json=as_json))
    except BlockingIOError:
        pid = (folder / "up.lock").read_text().strip()
        raise Conflict(
            f"`muster up` already runs on {folder} (pid {pid}); stop it, or use another --data-dir", code="up_running"
        ) from None


async def run(settings: TrialSettings, *, as_json: bool) -> int:
    """The exit code: 0 when it was asked to end. Raises: MusterError."""
    trial, hurry = Trial(settings, os.environ), asyncio.Event()
    living = asyncio.ensure_future(live(trial, settings, as_json=as_json))
    on_signals(living, hurry)
    try:
        await living
    except asyncio.CancelledError:
        click.echo("\nstopping: the agent finishes the jobs it holds; Ctrl-C again doesn't wait", err=True)
    finally:
        await trial.stop(hurry)
    return 0


async def live(trial: Trial, settings: TrialSettings, *, as_json: bool) -> None:
    """Start, tell, and watch. Raises: MusterError."""
    started = await trial.start()
    aside = write_client(os.environ, started.url, started.keys.admin)
    if as_json:
        print_json(facts(started, settings.folder))
    else:
        tell(started, settings.folder)
    if aside:
        click.echo(f"note: the client settings that were there are kept as {aside}", err=True)
    for name in ("MUSTER_URL", "MUSTER_KEY"):
        if os.environ.get(name):
            click.echo(
                f"note: {name} is set in this shell and wins over client.toml; unset it to reach this hub", err=True
            )
    await trial.watch()


def on_signals(living: "asyncio.Future[None]", hurry: asyncio.Event) -> None:
    """The first signal ends the living, a second one hurries."""
    first = asyncio.Event()

    def told() -> None:
        if living.done() or first.is_set():
            hurry.set()
        first.set()
        living.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told)


def check_installed() -> None:
    """Raises: Misconfigured, when only the client is installed."""
    missing = [name for name in PARTS if find_spec(name) is None]
    if missing:
        raise Misconfigured(
            f"expected the hub and the agent to be installed, {missing[0]} is missing:"
            " in a checkout of Muster, pip install '.[hub,agent]'"
        )


def make_folders(folder: Path) -> None:
    """The trial's folder, for its owner alone. Raises: Misconfigured."""
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise Misconfigured(f"expected a data directory that can be written, got {folder}: {error.strerror}") from None


def tell(started: Started, folder: Path) -> None:
    """What the user needs, on standard output."""
    click.echo(f"Muster is up at {started.url}\n")
    kept = f"kept in {client_file(os.environ)}, where `muster` finds it"
    key = {"admin key": started.keys.admin, "": f"shown once; {kept}"} if started.keys.is_new else {"admin key": kept}
    workers = {f"worker {one['id']}": f"{one['services']}; {one['gpu']}" for one in workers_of(started)}
    print_sheet({**key, **workers, "logs": str(folder / "logs")})
    click.echo(f"\nIn a second terminal:\n\n  {first_line(folder)}\n")
    click.echo("Ctrl-C stops it all; running jobs are finished first.")


def facts(started: Started, folder: Path) -> dict[str, Any]:
    """The same for programs."""
    return {
        "url": started.url,
        "admin_key": started.keys.admin if started.keys.is_new else None,
        "client_config": str(client_file(os.environ)),
        "workers": workers_of(started),
        "data_dir": str(folder),
        "submit": first_line(folder),
    }


def workers_of(started: Started) -> list[dict[str, str]]:
    """Name, services and GPU of each worker."""
    found = []
    for worker in started.workers:
        gpu = gpu_of(worker.capability)
        services = ", ".join(worker.capability.get("services", ()))
        found.append({"id": worker.id, "services": services, "gpu": "no GPU: CPU worker" if gpu == "none" else gpu})
    return found


def first_line(folder: Path) -> str:
    """A `muster submit` that works by copy and paste, from the current folder."""
    payload = Path("examples/simulation.json")
    if not payload.is_file():
        payload = folder / "simulation.json"
        payload.write_bytes(msgspec.json.format(msgspec.json.encode(SAMPLE)))
    return shlex.join([*own_name(), "submit", "simulation", "--payload", str(payload), "--wait"])


def own_name() -> list[str]:
    """How this program is called again from the current folder."""
    program = Path(sys.argv[0]).absolute()
    if program.name != "muster":
        return [sys.executable, "-m", "shared.cli"]
    if program.is_relative_to(Path.cwd()):
        return [str(program.relative_to(Path.cwd()))]
    found = shutil.which("muster")
    return ["muster"] if found and Path(found).absolute() == program else [str(program)]
