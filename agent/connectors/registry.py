"""The built-in connectors by the service's word, and how each is made from the agent's settings."""

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from agent.connectors.a1111 import A1111Connector
from agent.connectors.base import Connector
from agent.connectors.comfyui import ComfyConnector
from agent.connectors.command import CommandConnector
from agent.connectors.openai import OpenAIConnector, OpenAISettings
from agent.connectors.simulation import SimulationConnector

__all__ = ["BUILT_IN", "Make", "ServiceSettings"]

#: makes the connector to the instance at this URL (empty: it has none), for so many jobs at once
Make = Callable[[str, int], Connector]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What the connectors need to know of the agent's configuration."""

    #: service → how the agent logs in at its server, such as `user:password`
    logins: Mapping[str, str] = field(default_factory=dict)
    #: what the OpenAI-compatible server wants beside its address
    openai: OpenAISettings = field(default_factory=OpenAISettings)
    #: programs that `command` jobs may run
    programs: Collection[str] = ()
    #: the agent's environment
    environ: Mapping[str, str] = field(default_factory=dict)


#: service → how its connector is made, as `Make` after the settings
BUILT_IN: Mapping[str, Callable[[ServiceSettings, str, int], Connector]] = {
    "a1111": lambda settings, url, _: A1111Connector(url, settings.logins.get("a1111")),
    "comfyui": lambda settings, url, _: ComfyConnector(url, settings.logins.get("comfyui")),
    "command": lambda settings, _url, _: CommandConnector(settings.programs, settings.environ),
    "openai": lambda settings, url, jobs: OpenAIConnector(url, replace(settings.openai, concurrency=jobs)),
    "simulation": lambda *_: SimulationConnector(random.Random()),  # noqa: S311 - dice, not secrets
}
