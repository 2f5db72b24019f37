"""The built-in connectors by the service's word, and how each is made from the agent's settings, beside others."""

import difflib
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from agent.connectors.a1111 import A1111Connector
from agent.connectors.base import Connector
from agent.connectors.comfyui import ComfyConnector
from agent.connectors.command import CommandConnector
from agent.connectors.openai import OpenAIConnector, OpenAISettings
from agent.connectors.simulation import SimulationConnector
from shared.errors import Misconfigured

__all__ = ["BUILT_IN", "STOCK_URLS", "ServiceSettings", "build"]

#: service → where its server listens unless configured otherwise
STOCK_URLS: Mapping[str, str] = {
    "a1111": "http://localhost:7860",
    "comfyui": "http://localhost:8188",
    "openai": "http://localhost:8000",
}


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What the connectors need to know of the agent's configuration."""

    #: service → its server's address; `STOCK_URLS` where there is none
    urls: Mapping[str, str] = field(default_factory=dict)
    #: service → `user:password` for its server
    logins: Mapping[str, str] = field(default_factory=dict)
    #: what the OpenAI-compatible server wants beside its address
    openai: OpenAISettings = field(default_factory=OpenAISettings)
    #: programs that `command` jobs may run
    programs: Collection[str] = ()
    #: the agent's environment
    environ: Mapping[str, str] = field(default_factory=dict)

    def url(self, service: str) -> str:
        """Where the service's server listens."""
        return self.urls.get(service) or STOCK_URLS[service]


#: service → its connector
BUILT_IN: Mapping[str, Callable[[ServiceSettings], Connector]] = {
    "a1111": lambda settings: A1111Connector(settings.url("a1111"), settings.logins.get("a1111")),
    "comfyui": lambda settings: ComfyConnector(settings.url("comfyui")),
    "command": lambda settings: CommandConnector(settings.programs, settings.environ),
    "openai": lambda settings: OpenAIConnector(settings.url("openai"), settings.openai),
    "simulation": lambda _: SimulationConnector(random.Random()),  # noqa: S311 - dice, not secrets
}


def build(
    services: Sequence[str], settings: ServiceSettings, others: Mapping[str, Callable[[], Connector]] | None = None
) -> list[Connector]:
    """A connector for each service, in this order.

    Args:
        services: words such as `comfyui`; each once.
        settings: of the agent.
        others: service → its connector, for those that aren't built in.

    Raises:
        Misconfigured: a service that no connector is for; all such faults at once, with the nearest names.
    """
    makers = dict(others or {})
    for service, make in BUILT_IN.items():
        makers[service] = partial(make, settings)
    faults = [_missing(service, makers) for service in services if service not in makers]
    if faults:
        raise Misconfigured("; ".join(faults))
    return [makers[service]() for service in dict.fromkeys(services)]


def _missing(service: str, makers: Collection[str]) -> str:
    there = ", ".join(sorted(makers))
    if service == "http":
        return "service 'http' (SERVICES) needs an [[http]] table in the agent's file; name the `service` of the table"
    near = difflib.get_close_matches(service, makers, n=1)
    remedy = f"did you mean '{near[0]}'?" if near else f"there are {there}"
    return f"unknown service '{service}' (SERVICES): {remedy}"
