"""The machine's name: part of the identity, never of the capability document."""

import socket

__all__ = ["hostname"]


def hostname() -> str | None:
    """The name the machine calls itself; None where it has none."""
    return socket.gethostname() or None
