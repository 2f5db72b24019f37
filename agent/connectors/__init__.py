"""Connectors: the adapters to the services that do the work."""
