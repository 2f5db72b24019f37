"""The hub: the stateless HTTP side of Muster. Imports `shared`, never `agent`."""
