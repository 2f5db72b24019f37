"""The connector to AUTOMATIC1111's Stable Diffusion web UI, and to what speaks its API (Forge, sd-server)."""

from agent.connectors.a1111.connector import A1111Connector
from agent.connectors.a1111.times import A1111Times

__all__ = ["A1111Connector", "A1111Times"]
