"""Keys of a trial: an admin key for its user, a token for its agent; made once, kept by files that only the user reads.

- A key that still opens this store is used again; another hub's `client.toml` is set aside, never lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.client_config import ClientConfig, client_file, load_client, write_client_config
from shared.clock import SystemClock
from shared.errors import Misconfigured
from shared.private_file import write_private
from shared.store.access import Access
from shared.store.connection import Store
from shared.store.credentials import CredentialKind, Credentials, Grant
from shared.store.embedded_files import LOOPBACK, StoreFiles
from shared.wire.access import Scope

__all__ = ["TrialKeys", "make_keys", "write_client"]


@dataclass(frozen=True)
class TrialKeys:
    """The secrets of a trial."""

    admin: str
    #: was it made just now?
    is_new: bool
    #: holds the agent's enrolment token
    token_file: Path


async def make_keys(folder: Path, environ: Mapping[str, str]) -> TrialKeys:
    """The trial's keys, made where there are none that still work.

    Args:
        folder: the trial's data directory; its store runs.
        environ: says where `client.toml` is.

    Raises:
        Unavailable: the store doesn't answer.
    """
    record = StoreFiles(folder / "hub").record()
    store = Store.at(f"redis://:{record.password}@{LOOPBACK}:{record.port}/0")
    try:
        access, credentials = Access(store, SystemClock()), Credentials(store, SystemClock())
        token_file = await kept_token(access, credentials, folder / "agent.token")
        admin_file = folder / "admin.key"
        admin = await working_admin(access, (read(admin_file), configured(environ).key))
        if admin is not None:
            return TrialKeys(admin, is_new=False, token_file=token_file)
        _, made = await credentials.create(CredentialKind.KEY, "muster up", Grant(scopes=[Scope.ADMIN]))
        write_private(admin_file, made)
        return TrialKeys(made, is_new=True, token_file=token_file)
    finally:
        await store.close()


def write_client(environ: Mapping[str, str], url: str, key: str) -> Path | None:
    """Make `client.toml` name this hub; where another one's settings stood, the path they are kept under now."""
    file, found = client_file(environ), configured(environ)
    if (found.url, found.key) == (url, key) and file.exists():
        return None
    aside = set_aside(file) if file.exists() and found.key != key else None
    write_client_config(file, url, key)
    return aside


async def kept_token(access: Access, credentials: Credentials, file: Path) -> Path:
    """The file with an enrolment token that works."""
    token = read(file)
    if token is None or await access.find(token) is None:
        _, made = await credentials.create(CredentialKind.TOKEN, "muster up", Grant(scopes=[Scope.AGENTS_ENROLL]))
        write_private(file, made)
    return file


async def working_admin(access: Access, candidates: tuple[str | None, ...]) -> str | None:
    """The first of the keys that has all rights here."""
    for key in candidates:
        principal = await access.find(key) if key else None
        if principal is not None and Scope.ADMIN in principal.scopes:
            return key
    return None


def configured(environ: Mapping[str, str]) -> ClientConfig:
    """What `client.toml` says, whatever the environment says; the defaults where it can't be read."""
    try:
        return load_client(environ={name: text for name, text in environ.items() if not name.startswith("MUSTER_")})
    except Misconfigured:
        return ClientConfig()


def set_aside(file: Path) -> Path:
    """The file under a name that was free."""
    number = 1
    while (aside := file.with_name(f"{file.name}.{number}")).exists():
        number += 1
    return file.rename(aside)


def read(file: Path) -> str | None:
    """The text of a file; None: there is none."""
    return file.read_text().strip() if file.exists() else None
