"""The hub's settings: every name in one place.

- Says what a setting is, never what is done with it.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.config import load
from shared.config_paths import config_file, state_dir
from shared.wire.access import Transport

__all__ = ["HubConfig", "load_hub"]

Port = Annotated[int, Meta(ge=0, le=65535)]


class HubConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of `muster-hub serve`."""

    #: Not used with `embedded`.
    redis_url: Annotated[
        str,
        Meta(
            pattern="^(rediss?|unix)://",
            description="the store: redis://:password@host:port/0, rediss: for TLS",
            extra={"env": "REDIS_URL", "secret": True},
        ),
    ] = "redis://localhost:6379"
    #: Address.
    host: Annotated[str, Meta(description="address to listen on", extra={"env": "HUB_HOST"})] = "0.0.0.0"
    #: 0 lets the system choose one.
    port: Annotated[Port, Meta(description="port to listen on; 0 for any free one", extra={"env": "HUB_PORT"})] = 3001
    #: None for the same as `port`.
    ws_port: Annotated[
        Port | None,
        Meta(
            description="port for WebSockets; another one than the hub's opens a second listener",
            extra={"env": "WS_PORT", "default": "same as HUB_PORT"},
        ),
    ] = None
    #: None for no such key.
    ws_auth_token: Annotated[
        str | None,
        Meta(
            description="a key with all rights, for simple set-ups",
            extra={"env": "WS_AUTH_TOKEN", "secret": True},
        ),
    ] = None
    #: None for the address by which the agent reached the hub, or `redis_url`.
    store_public_url: Annotated[
        str | None,
        Meta(
            description="the store's URL as agents reach it, where it differs from the hub's own",
            extra={"env": "HUB_STORE_PUBLIC_URL", "secret": True, "default": "as the hub reaches it"},
        ),
    ] = None
    #: What agents are told when they enrol.
    agent_transport: Annotated[
        Transport,
        Meta(
            description="how agents that enrol reach the broker: direct (the store's address is theirs) or link"
            " (through the hub alone)",
            extra={"env": "HUB_AGENT_TRANSPORT"},
        ),
    ] = Transport.DIRECT
    #: Seconds.
    link_grace_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="how long an agent whose link broke is waited for before its jobs run elsewhere (seconds)",
            extra={"env": "HUB_LINK_GRACE_S"},
        ),
    ] = 3.0
    #: Minutes.
    max_job_timeout_minutes: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="longest time one attempt may take, whatever the job asks for (minutes)",
            extra={"env": "MAX_JOB_TIMEOUT_MINUTES"},
        ),
    ] = 30
    #: Seconds.
    lease_s: Annotated[
        int,
        Meta(
            ge=5,
            le=3600,
            description="how long a silent agent is waited for before its jobs run elsewhere (seconds)",
            extra={"env": "HUB_LEASE_S"},
        ),
    ] = 20
    #: For jobs that name none.
    default_job_priority: Annotated[
        int, Meta(description="priority of jobs that name none", extra={"env": "DEFAULT_JOB_PRIORITY"})
    ] = 50
    #: The embedded store, artifacts and the hub's lock.
    data_dir: Annotated[
        Path,
        Meta(
            description="where the hub keeps its files",
            extra={"env": "HUB_DATA_DIR", "default": "~/.local/state/muster/hub, for root /var/lib/muster-hub"},
        ),
    ] = Path("/var/lib/muster-hub")
    #: None for a folder in `data_dir`.
    artifacts_url: Annotated[
        str | None,
        Meta(
            description="where inputs and outputs are kept: file:///..., s3://bucket/prefix, gs://..., az://...",
            extra={"env": "HUB_ARTIFACTS_URL", "default": "a folder in HUB_DATA_DIR"},
        ),
    ] = None
    #: Needs `tls_key`.
    tls_cert: Annotated[
        Path | None, Meta(description="certificate chain (PEM) to serve HTTPS with", extra={"env": "HUB_TLS_CERT"})
    ] = None
    #: Needs `tls_cert`.
    tls_key: Annotated[
        Path | None, Meta(description="private key (PEM) of the certificate", extra={"env": "HUB_TLS_KEY"})
    ] = None
    #: Whose `Forwarded` and `X-Forwarded-For` are believed.
    trusted_proxies: Annotated[
        list[str],
        Meta(
            description="networks of proxies whose word about a client's address is believed, such as 10.0.0.0/8",
            extra={"env": "HUB_TRUSTED_PROXIES", "default": "none"},
        ),
    ] = msgspec.field(default_factory=list)
    #: Beside the public ones.
    webhook_networks: Annotated[
        list[str],
        Meta(
            description="private networks that webhooks may be sent to, such as 10.0.0.0/8",
            extra={"env": "HUB_WEBHOOK_NETWORKS", "default": "none"},
        ),
    ] = msgspec.field(default_factory=list)
    #: Whether `/metrics` asks for no key.
    metrics_open: Annotated[
        bool, Meta(description="serve /metrics without a key", extra={"env": "HUB_METRICS_OPEN"})
    ] = True
    #: Whether the hub runs its own store.
    embedded: Annotated[
        bool,
        Meta(description="run a store of its own, with its files in the data directory", extra={"env": "HUB_EMBEDDED"}),
    ] = False
    #: Only with `embedded`.
    store_bind: Annotated[
        str,
        Meta(
            min_length=1,
            description="address the embedded store listens on beside 127.0.0.1 (0.0.0.0 lets other machines in)",
            extra={"env": "HUB_STORE_BIND"},
        ),
    ] = "127.0.0.1"

    def __post_init__(self) -> None:
        """Cross-checks."""
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("tls_cert", "HUB_TLS_KEY") if self.tls_cert else ("tls_key", "HUB_TLS_CERT")
            raise ValueError(f"expected tls_cert and tls_key together, got only {given}; set {missing}")
        self.proxy_networks()
        self.networks_for_webhooks()

    def proxy_networks(self) -> list[IPv4Network | IPv6Network]:
        """The trusted proxies' networks. Raises: ValueError, when one isn't a network."""
        return _networks(self.trusted_proxies, "HUB_TRUSTED_PROXIES")

    def networks_for_webhooks(self) -> list[IPv4Network | IPv6Network]:
        """The private networks of webhooks. Raises: ValueError, when one isn't a network."""
        return _networks(self.webhook_networks, "HUB_WEBHOOK_NETWORKS")

    def websocket_port(self) -> int:
        """The port of WebSockets, resolved."""
        return self.port if self.ws_port is None else self.ws_port


def load_hub(
    *, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None, file: Path | None = None, root: bool = False
) -> HubConfig:
    """The hub's settings.

    Args:
        environ: such as `os.environ`.
        flags: by key; None values are flags that weren't given.
        file: None for `hub.toml` at its usual place, which may be missing.
        root: whether this process is root's, whose files lie elsewhere.

    Raises:
        Misconfigured: all faults at once.
    """
    usual = config_file("hub.toml", environ=environ, root=root)
    detected = {"data_dir": state_dir("hub", environ=environ, root=root)}
    return load(
        HubConfig, flags=flags, environ=environ, file=file or (usual if usual.exists() else None), detected=detected
    )


def _networks(texts: list[str], name: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(one) for one in texts]
    except ValueError as error:
        raise ValueError(f"expected networks such as 10.0.0.0/8, got {error} ({name})") from None
