"""Who works here, and with which connectors: those of the services to be offered, or of all that may be found.

- Nothing named: the simulation is always there, every other service from the moment it is found where it usually is.
- A simulated job runs only where a job asks for `simulation`: offering it never stands in for a service that is down.
- One connector for each instance that a worker uses.
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
from agent.connectors.registry import BUILT_IN, Make, ServiceSettings
from agent.crew import Crew
from agent.plan import plan_of
from shared.errors import Misconfigured
from shared.log import get

__all__ = ["crew_of"]

#: below the state directory: where connectors of the operator's own are, unless configured
CONNECTORS_FOLDER = "connectors.d"

log = get(__name__)


def crew_of(config: AgentConfig, environ: Mapping[str, str], *, gpu_count: int, agent_id: str) -> Crew:
    """The workers, and a connector for each instance of a service that they use.

    Args:
        config: says who works, names the services or leaves them to be found, and where their servers are.
        environ: the agent's environment.
        gpu_count: of the machine, faulty ones counted.
        agent_id: the enrolled id.

    Raises:
        Misconfigured: workers or services that can't be, a secret that isn't there, a word that is taken.
    """
    makers = _makers(config, environ)
    plan = plan_of(config, makers, gpu_count=gpu_count, agent_id=agent_id)
    for fault in plan.faults:
        log.error("worker.fault", fault=fault)
    users = plan.users
    return Crew(plan=plan, connectors={one: makers[one.service](one.url, users[one]) for one in users})


def _makers(config: AgentConfig, environ: Mapping[str, str]) -> dict[str, Make]:
    """Service → how its connectors are made."""
    logins = {"a1111": config.a1111_auth, "comfyui": config.comfyui_auth}
    settings = ServiceSettings(
        logins={service: login for service, login in logins.items() if login is not None},
        openai=OpenAISettings(key=config.openai_api_key, models=tuple(config.openai_models)),
        programs=tuple(config.command.allow),
        environ=environ,
    )
    over_http = _over_http(config, environ)
    others = {**_plugins(config, environ, taken={*BUILT_IN, *over_http}), **over_http}
    built_in = {service: partial(make, settings) for service, make in BUILT_IN.items()}
    return {**{service: _anywhere(make) for service, make in others.items()}, **built_in}


def _anywhere(make: Callable[[], Connector]) -> Make:
    """Its connector knows where the service is, and how much it takes."""
    return lambda _url, _jobs: make()


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
