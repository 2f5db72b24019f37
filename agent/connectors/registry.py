"""The built-in connectors by the service's word, and how each is made from the agent's settings."""

import difflib
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent.connectors.base import Connector
from agent.connectors.comfyui import ComfyConnector
from agent.connectors.command import CommandConnector
from agent.connectors.simulation import SimulationConnector
from shared.errors import Misconfigured

__all__ = ["BUILT_IN", "STOCK_URLS", "ServiceSettings", "build"]

#: services of the product that this version has no connector for
TO_COME = frozenset({"a1111", "openai", "http"})
#: service → where its server listens unless configured otherwise
STOCK_URLS: Mapping[str, str] = {"comfyui": "http://localhost:8188"}


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What the connectors need to know of the agent's configuration."""

    #: service → its server's address; `STOCK_URLS` where there is none
    urls: Mapping[str, str] = field(default_factory=dict)
    #: programs that `command` jobs may run
    programs: Collection[str] = ()
    #: the agent's environment
    environ: Mapping[str, str] = field(default_factory=dict)

    def url(self, service: str) -> str:
        """Where the service's server listens."""
        return self.urls.get(service) or STOCK_URLS[service]


#: service → its connector
BUILT_IN: Mapping[str, Callable[[ServiceSettings], Connector]] = {
    "comfyui": lambda settings: ComfyConnector(settings.url("comfyui")),
    "command": lambda settings: CommandConnector(settings.programs, settings.environ),
    "simulation": lambda _: SimulationConnector(random.Random()),  # noqa: S311 - dice, not secrets
}


def build(services: Sequence[str], settings: ServiceSettings) -> list[Connector]:
    """A connector for each service, in this order.

    Args:
        services: words such as `comfyui`; each once.
        settings: of the agent.

    Raises:
        Misconfigured: a service that no connector is for; all such faults at once, with the nearest names.
    """
    faults = [_missing(service) for service in services if service not in BUILT_IN]
    if faults:
        raise Misconfigured("; ".join(faults))
    return [BUILT_IN[service](settings) for service in dict.fromkeys(services)]


def _missing(service: str) -> str:
    there = ", ".join(sorted(BUILT_IN))
    if service in TO_COME:
        return f"service '{service}' (SERVICES) has no connector in this version yet: leave it out; there are {there}"
    near = difflib.get_close_matches(service, BUILT_IN, n=1)
    remedy = f"did you mean '{near[0]}'?" if near else f"there are {there}"
    return f"unknown service '{service}' (SERVICES): {remedy}"
