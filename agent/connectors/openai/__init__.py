"""The connector to an OpenAI-compatible server: vLLM, llama-server, Ollama, a hosted API, over HTTP only."""

from agent.connectors.openai.connector import OpenAIConnector, OpenAISettings
from agent.connectors.openai.times import OpenAITimes

__all__ = ["OpenAIConnector", "OpenAISettings", "OpenAITimes"]
