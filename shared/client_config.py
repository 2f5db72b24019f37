"""Which hub the command line and the Python client talk to, and with which key.

- `client.toml` holds a key: only its owner can read it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.config import load
from shared.config_paths import config_file
from shared.private_file import write_private

__all__ = ["ClientConfig", "client_file", "load_client", "write_client_config"]


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of `muster` and of the Python client."""

    #: The hub.
    url: Annotated[str, Meta(pattern="^https?://", description="the hub's URL", extra={"env": "MUSTER_URL"})] = (
        "http://127.0.0.1:3001"
    )
    #: None where a request needs none, or to be told that it does.
    key: Annotated[str | None, Meta(description="API key", extra={"env": "MUSTER_KEY", "secret": True})] = None


def client_file(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/muster/client.toml`, also for root: it belongs to a person, not to a service."""
    return config_file("client.toml", environ=environ)


def load_client(*, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> ClientConfig:
    """The client's settings; `client.toml` may be missing.

    Raises:
        Misconfigured: all faults at once.
    """
    file = client_file(environ)
    return load(ClientConfig, flags=flags, environ=environ, file=file if file.exists() else None)


def write_client_config(path: Path, url: str, key: str | None) -> None:
    """Replace `client.toml`; its folder is made when missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    values = {"url": url, "key": key}
    # A JSON string in ASCII is a TOML basic string.
    write_private(
        path, "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None)
    )
