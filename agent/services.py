"""Which connectors this agent has: those of the services it is told to offer, or of all that may be found.

- Nothing named: the simulation is always there, every other service from the moment it is found where it usually is.
- A simulated job runs only where a job asks for `simulation`: offering it never stands in for a service that is down.
"""

from collections.abc import Mapping

from agent.config import AgentConfig
from agent.connectors.base import Connector
from agent.connectors.registry import BUILT_IN, ServiceSettings, build

__all__ = ["are_named", "connectors_of"]


def are_named(config: AgentConfig) -> bool:
    """Did the operator name the services?"""
    return config.services is not None


def connectors_of(config: AgentConfig, environ: Mapping[str, str]) -> list[Connector]:
    """A connector for each service.

    Args:
        config: names the services, or leaves them to be found; says where their servers are.
        environ: the agent's environment.

    Raises:
        Misconfigured: a named service that no connector is for.
    """
    settings = ServiceSettings(
        urls={"comfyui": config.comfyui_url, "a1111": config.a1111_url},
        programs=tuple(config.command.allow),
        environ=environ,
    )
    return build(sorted(BUILT_IN) if config.services is None else config.services, settings)
