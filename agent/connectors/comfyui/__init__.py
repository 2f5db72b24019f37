"""The connector to a stock ComfyUI server, over its HTTP and WebSocket only."""

from agent.connectors.comfyui.connector import ComfyConnector
from agent.connectors.comfyui.times import ComfyTimes

__all__ = ["ComfyConnector", "ComfyTimes"]
