"""The embedded store's folder: what is kept there, and the server's configuration.

    <data_dir>/store/            0700
        store.json               {"port": 24117, "password": "..."}, 0600, made once
        valkey.conf              made anew at each start, 0600: the password is on no command line
        valkey.log, valkey.pid, server.lock
        appendonlydir/           the server's own

- A port is made once and kept; it moves only when a stranger sits on it.
"""

import errno
import secrets
import socket
from pathlib import Path

import msgspec

from shared.errors import Misconfigured
from shared.private_file import write_private

__all__ = ["Record", "StoreFiles", "bind_addresses", "choose_port", "port_is_free"]

#: Below the ports that Linux and macOS hand out for outgoing connections, so that a restart finds its port free.
PORTS = range(20_000, 30_000)
PORT_TRIES = 100
PASSWORD_BYTES = 32
LOOPBACK = "127.0.0.1"
LOG_LINES = 10
#: The server raises its own soft file limit as far as the hard one allows; this is where we stop asking.
MOST_CLIENTS = 50_000
#: Files the server needs beside its clients.
SPARE_FILES = 64


class Record(msgspec.Struct, frozen=True):
    """What is made once and kept."""

    #: TCP port.
    port: int
    #: Asked of every client.
    password: str


class StoreFiles:
    """The store's folder under one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.absolute() / "store"
        self.record_file = self.folder / "store.json"
        self.settings_file = self.folder / "valkey.conf"
        self.log_file = self.folder / "valkey.log"
        self.pid_file = self.folder / "valkey.pid"
        self.lock_file = self.folder / "server.lock"

    def make(self) -> None:
        """Make the folder, for its owner alone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def record(self) -> Record:
        """The kept port and password, made when there are none.

        Raises:
            Misconfigured: the file is there but no record.
        """
        if not self.record_file.exists():
            return self.keep(Record(port=choose_port(LOOPBACK), password=secrets.token_urlsafe(PASSWORD_BYTES)))
        try:
            return msgspec.json.decode(self.record_file.read_bytes(), type=Record)
        except msgspec.MsgspecError:
            raise Misconfigured(
                f'expected {self.record_file} to hold {{"port": ..., "password": ...}}, got something else; '
                "restore it, or remove it to have a new port and password made"
            ) from None

    def keep(self, record: Record) -> Record:
        """Write the record down."""
        write_private(self.record_file, msgspec.json.encode(record).decode())
        return record

    def write_settings(self, record: Record, *, bind: str, files_limit: int) -> None:
        """Write the server's configuration."""
        settings = {
            "bind": " ".join(bind_addresses(bind)),
            "port": str(record.port),
            "requirepass": record.password,
            "dir": quoted(self.folder),
            "pidfile": quoted(self.pid_file),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "maxclients": str(most_clients(files_limit)),
        }
        write_private(self.settings_file, "".join(f"{name} {value}\n" for name, value in settings.items()))

    def log_tail(self, start: int) -> str:
        """The last lines the server wrote after that offset (bytes)."""
        with self.log_file.open("rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def log_bytes(self) -> int:
        """How much the server has written."""
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def server_pid(self) -> str:
        """The pid the server wrote down, for messages only."""
        return self.pid_file.read_text().strip() if self.pid_file.exists() else "unknown"


def bind_addresses(bind: str) -> list[str]:
    """The addresses to listen on: loopback always, so that the hub reaches it.

    `0.0.0.0` holds loopback already.
    """
    return [bind] if bind in {LOOPBACK, "0.0.0.0"} else [LOOPBACK, bind]


def choose_port(bind: str) -> int:
    """A free port in `PORTS`.

    Raises:
        Misconfigured: none was found.
    """
    for _ in range(PORT_TRIES):
        port = secrets.choice(PORTS)
        if port_is_free(port, bind):
            return port
    raise Misconfigured(
        f"expected a free port on {bind} in {PORTS.start}-{PORTS.stop - 1} for the embedded store, got none; "
        "free one, or set REDIS_URL to a running server"
    )


def port_is_free(port: int, bind: str) -> bool:
    """Whether a server could listen there now."""
    return all(can_listen(address, port) for address in bind_addresses(bind))


def can_listen(address: str, port: int) -> bool:
    """Whether the port is free on one address; an address this machine hasn't got is left for the server to tell."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: TIME_WAIT doesn't count
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def most_clients(files_limit: int) -> int:
    """How many clients the server may have, out of the hard limit of open files."""
    return max(1, min(MOST_CLIENTS, files_limit - SPARE_FILES))


def quoted(path: Path) -> str:
    """A path as one argument of the server's configuration, whatever is in it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
