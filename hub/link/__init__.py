"""The hub's end of the agents' links."""
