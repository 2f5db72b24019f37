"""Connectors that come from elsewhere: Python files of a folder, and entry points of installed packages.

- A file `upscale.py`, or an entry point `upscale` of the group `muster.connectors`, is the service `upscale`. Both give
  a function `connector(settings) -> Connector`; the settings are `PluginSettings`.
- It runs with the agent's rights: a file that others may write is not loaded.
- One that can't be loaded is told in the log, by its place, and stands there as a service that is down for this reason;
  the agent goes on.
- One without `adopt` works: its jobs are given back after a restart of the agent. So does one without `free`.
- A word of the product's own services stays the product's.
"""

import importlib.util
import inspect
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from agent.connectors.base import Assignment, Connector, Finished, NotAdopted, Report, ServiceFault, ServiceState
from shared.log import get
from shared.wire.states import FailureClass

__all__ = ["GROUP", "PluginSettings", "plugins"]

GROUP = "muster.connectors"
#: what a file or module must have
FACTORY = "connector"
SERVICE_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
#: what the contract has of coroutines; `adopt` and `free` may be left out
METHODS = ("probe", "run", "close")
ADOPT, FREE = "adopt", "free"

log = get(__name__)


@dataclass(frozen=True, kw_only=True)
class PluginSettings:
    """What a plug-in is made from."""

    #: its word
    service: str
    #: the table `[plugins.<service>]` of the agent's file
    options: Mapping[str, Any] = field(default_factory=dict)
    #: the agent's environment
    environ: Mapping[str, str] = field(default_factory=dict)


Make = Callable[[PluginSettings], Connector]
#: finds a plug-in's `connector`
Load = Callable[[], Any]


class BrokenConnector:
    """Stands for a plug-in that can't be loaded.

    Args:
        service: its word.
        reason: why, with its place.
    """

    def __init__(self, service: str, reason: str) -> None:
        self.service = service
        self._reason = reason

    async def probe(self) -> ServiceState:
        """Down, with the reason."""
        return ServiceState(healthy=False, reason=self._reason)

    async def run(self, assignment: Assignment, report: Report) -> Finished:  # noqa: ARG002 - it can't
        """Nothing. Raises: ServiceFault: class `unfit`."""
        raise ServiceFault(FailureClass.UNFIT, self._reason)

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:  # noqa: ARG002 - it can't
        """Nothing. Raises: NotAdopted."""
        raise NotAdopted(self._reason)

    async def close(self) -> None:
        """Nothing to free."""


class UnadoptingConnector:
    """A plug-in that can't take jobs up again. Args: plugin: it, with all but `adopt`."""

    def __init__(self, plugin: Any) -> None:
        self.service: str = plugin.service
        self.probe = plugin.probe
        self.run = plugin.run
        self.close = plugin.close
        if hasattr(plugin, FREE):
            self.free = plugin.free

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:  # noqa: ARG002 - it can't
        """Nothing. Raises: NotAdopted."""
        raise NotAdopted(f"the connector of {self.service} has no 'adopt'")


def plugins(folder: Path, taken: Collection[str]) -> dict[str, Make]:
    """Service → how its connector is made; making never fails.

    Args:
        folder: of files; it need not exist. A file wins over an entry point of its word.
        taken: words that plug-ins can't have.
    """
    found: dict[str, Make] = {}
    for word, place, load in (*_files(folder), *_entry_points()):
        wrong = _wrong_with(word, taken, found)
        if wrong:
            log.warning("connector.ignored", place=place, reason=wrong)
        else:
            found[word] = partial(_made, place, load)
    return found


def _wrong_with(word: str, taken: Collection[str], found: Collection[str]) -> str | None:
    if not SERVICE_WORD.fullmatch(word):
        return f"expected its name to be a service's word (a-z 0-9 _ . -), got '{word}'"
    if word in taken:
        return f"'{word}' is a service that the agent has already: rename it"
    return f"another plug-in is '{word}', too" if word in found else None


def _files(folder: Path) -> Iterator[tuple[str, str, Load]]:
    try:
        paths = sorted(folder.glob("*.py"))
    except OSError as error:
        log.warning("connector.ignored", place=str(folder), reason=str(error))
        return
    for path in paths:
        if not path.name.startswith(("_", ".")):
            yield path.stem, str(path), partial(_from_file, path)


def _entry_points() -> Iterator[tuple[str, str, Load]]:
    for entry in entry_points(group=GROUP):
        yield entry.name, f"{entry.value} (entry point)", entry.load


def _from_file(path: Path) -> Any:
    for place in (path, path.parent):
        if place.stat().st_mode & stat.S_IWOTH:
            raise PermissionError(f"others may write {place}: chmod o-w")
    spec = importlib.util.spec_from_file_location(f"muster_connector_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, FACTORY)


def _made(place: str, load: Load, settings: PluginSettings) -> Connector:
    try:
        made = load()(settings)
        _require_connector(made, settings.service)
    except (Exception, SystemExit) as error:
        reason = f"{place} can't be loaded: {type(error).__name__}: {error}"
        log.warning("connector.unloadable", place=place, reason=reason, exc_info=True)
        return BrokenConnector(settings.service, reason)
    connector: Connector = made if hasattr(made, ADOPT) else UnadoptingConnector(made)
    return connector


def _require_connector(made: Any, service: str) -> None:
    for name in (*METHODS, *(name for name in (ADOPT, FREE) if hasattr(made, name))):
        if not inspect.iscoroutinefunction(getattr(made, name, None)):
            raise TypeError(f"its connector has no 'async def {name}'")
    if getattr(made, "service", None) != service:
        raise TypeError(f"expected its connector's service to be '{service}', got {getattr(made, 'service', None)!r}")
