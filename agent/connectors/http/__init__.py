"""The connector to any service over HTTP: one call, or submit and poll, as its settings say."""

from agent.connectors.http.connector import HttpConnector

__all__ = ["HttpConnector"]
