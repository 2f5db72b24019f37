"""Which connectors this agent has: those of the services it is told to offer, or of all that may be found.

- Nothing named: the simulation is always there, every other service from the moment it is found where it usually is.
- A simulated job runs only where a job asks for `simulation`: offering it never stands in for a service that is down.
"""

import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

from agent.config import AgentConfig, state_dir
from agent.connectors.base import Connector
from agent.connectors.http import HttpConnector
from agent.connectors.openai import OpenAISettings
from agent.connectors.plugins import PluginSettings, plugins
from agent.connectors.registry import BUILT_IN, ServiceSettings, build
from shared.errors import Misconfigured

__all__ = ["are_named", "connectors_of"]

#: below the state directory: where connectors of the operator's own are, unless configured
CONNECTORS_FOLDER = "connectors.d"


def are_named(config: AgentConfig) -> bool:
    """Did the operator name the services?"""
    return config.services is not None


def connectors_of(config: AgentConfig, environ: Mapping[str, str]) -> list[Connector]:
    """A connector for each service.

    Args:
        config: names the services, or leaves them to be found; says where their servers are.
        environ: the agent's environment.

    Raises:
        Misconfigured: a named service that no connector is for, a secret that isn't there, a word that is taken.
    """
    settings = ServiceSettings(
        urls={"comfyui": config.comfyui_url, "a1111": config.a1111_url, "openai": config.openai_url},
        logins={"a1111": config.a1111_auth} if config.a1111_auth else {},
        openai=OpenAISettings(
            key=config.openai_api_key, models=tuple(config.openai_models), concurrency=config.openai_concurrency
        ),
        programs=tuple(config.command.allow),
        environ=environ,
    )
    over_http = _over_http(config, environ)
    others = {**_plugins(config, environ, taken={*BUILT_IN, *over_http}), **over_http}
    return build(sorted({*BUILT_IN, *others}) if config.services is None else config.services, settings, others)


def _over_http(config: AgentConfig, environ: Mapping[str, str]) -> dict[str, Callable[[], Connector]]:
    """Service → its connector, of the `[[http]]` tables."""
    words = [one.service for one in config.http]
    for word in words:
        if word in BUILT_IN:
            raise Misconfigured(f"expected [[http]] tables to have words of their own, got '{word}', which is built in")
        if words.count(word) > 1:
            raise Misconfigured(f"expected one [[http]] table per service, got {words.count(word)} for '{word}'")
    return {one.service: partial(HttpConnector, one, environ) for one in config.http}


def _plugins(
    config: AgentConfig, environ: Mapping[str, str], taken: Collection[str]
) -> dict[str, Callable[[], Connector]]:
    """Service → its connector, of those that come from elsewhere."""
    found = plugins(_connectors_dir(config, environ), taken=taken)
    return {
        service: partial(
            make, PluginSettings(service=service, options=config.plugins.get(service, {}), environ=environ)
        )
        for service, make in found.items()
    }


def _connectors_dir(config: AgentConfig, environ: Mapping[str, str]) -> Path:
    folder = state_dir(config, environ=environ, root=os.geteuid() == 0)
    return config.connectors_dir or folder / CONNECTORS_FOLDER
