"""Under which address an agent reaches the store: the hub's own may mean nothing elsewhere. Pure."""

from urllib.parse import urlsplit, urlunsplit

import msgspec

__all__ = ["StoreAddress"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class StoreAddress(msgspec.Struct, frozen=True):
    """The store's address and how far it reaches."""

    #: as the hub itself uses it; a secret
    url: str
    #: address the embedded store listens on; None: the store isn't embedded
    bind: str | None = None
    #: told to agents instead of anything else (HUB_STORE_PUBLIC_URL)
    public_url: str | None = None

    def seen_by(self, host_header: str) -> str:
        """The URL for an agent that reached the hub by this `Host` header.

        An embedded store that listens beyond loopback is on the hub's machine: it has the hub's name and its own port.
        """
        if self.public_url:
            return self.public_url
        if self.bind is None or self.bind in LOOPBACK:
            return self.url
        host = urlsplit(f"//{host_header}").hostname
        return _with_host(self.url, host) if host else self.url


def _with_host(url: str, host: str) -> str:
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=f"{login}{at}{name}:{parts.port}"))
