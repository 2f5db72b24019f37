"""Starts every child process of the agent, so that all get the same, clean environment.

- The frozen agent runs with a `LD_LIBRARY_PATH` of its own; children get back the one the operator had.
- What lets somebody act as this agent, towards the hub, the store or its services, is never handed down.
- A child leads a process group of its own: whoever cancels it kills the group, not only the child.

Source: PyInstaller manual, "LD_LIBRARY_PATH / LIBPATH considerations".
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["WITHHELD", "child_environment", "spawn"]

#: what PyInstaller's start-up code overwrites, and where it keeps the first value
LIBRARY_PATH = "LD_LIBRARY_PATH"
LIBRARY_PATH_BEFORE = "LD_LIBRARY_PATH_ORIG"

#: names no child may see; each also as `NAME_FILE`
WITHHELD = (
    *("HUB_AUTH_TOKEN", "HUB_REDIS_URL", "REDIS_URL", "WS_AUTH_TOKEN", "MUSTER_KEY"),
    *("COMFYUI_AUTH", "A1111_AUTH", "OPENAI_API_KEY"),
)

#: what a stream of a child may be: `asyncio.subprocess.PIPE`, `DEVNULL`, `STDOUT`, or a file's number; None: inherited
Stream = int | None


def child_environment(
    environ: Mapping[str, str], extra: Mapping[str, str], *, frozen: bool | None = None
) -> dict[str, str]:
    """The environment of a child process.

    Args:
        environ: the agent's own.
        extra: laid over it, such as `CUDA_VISIBLE_DEVICES`.
        frozen: is this the frozen agent? None: see for yourself.
    """
    is_frozen = bool(getattr(sys, "frozen", False)) if frozen is None else frozen
    secret = {name for withheld in WITHHELD for name in (withheld, f"{withheld}_FILE")}
    environment = {name: value for name, value in environ.items() if name not in secret}
    before = environment.pop(LIBRARY_PATH_BEFORE, None)
    if before is not None:
        environment[LIBRARY_PATH] = before
    elif is_frozen:
        environment.pop(LIBRARY_PATH, None)
    return environment | dict(extra)


async def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    stdin: Stream = asyncio.subprocess.DEVNULL,
    stdout: Stream = asyncio.subprocess.PIPE,
    stderr: Stream = asyncio.subprocess.PIPE,
) -> asyncio.subprocess.Process:
    """A started child process that leads its own process group; the caller awaits its end.

    Args:
        command: program and arguments; no shell.
        environment: from `child_environment`.
        cwd: the folder it starts in; None: the agent's.
        stdin: its standard input.
        stdout: its standard output.
        stderr: its standard error.

    Raises:
        OSError: the program isn't there or can't be started.
    """
    return await asyncio.create_subprocess_exec(
        *command, env=dict(environment), cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )
