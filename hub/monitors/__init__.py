"""Monitors: clients that follow a hub over a WebSocket, and submit and cancel there."""
