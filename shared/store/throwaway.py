"""A store server for a moment: nothing is written, nobody else reaches it, it goes with its user.

- It listens on a socket file in a folder of mode 0700, on no port.
- On Linux the kernel kills it with the process that started it, however that ends.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.errors import Unavailable
from shared.store.connection import Store
from shared.store.embedded_binary import find_server

__all__ = ["throwaway_server"]

START_S = 10.0
POLL_S = 0.005
#: asks the kernel for SIGKILL when the parent goes, then becomes the server
DIE_WITH_PARENT = "import ctypes,os,sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


@asynccontextmanager
async def throwaway_server() -> AsyncGenerator[str, None]:
    """The URL of a server that answers, gone when the block ends.

    Raises:
        Misconfigured: this machine has no server program.
        Unavailable: it didn't start.
    """
    program = await asyncio.to_thread(find_server)
    with tempfile.TemporaryDirectory(prefix="muster-") as folder:
        process = await launched(program, Path(folder))
        try:
            url = f"unix://{folder}/socket"
            await answering(url, process)
            yield url
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def launched(program: Path, folder: Path) -> asyncio.subprocess.Process:
    """The server, configured over its standard input."""
    settings = {"port": "0", "unixsocket": f"{folder}/socket", "save": '""', "appendonly": "no", "dir": str(folder)}
    guard = [sys.executable, "-ISc", DIE_WITH_PARENT] if sys.platform == "linux" else []
    process = await asyncio.create_subprocess_exec(
        *guard,
        program,
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    if process.stdin:
        process.stdin.write("".join(f"{name} {value}\n" for name, value in settings.items()).encode())
        process.stdin.close()
    return process


async def answering(url: str, process: asyncio.subprocess.Process) -> None:
    """Return when the server answers. Raises: Unavailable, when it doesn't."""
    store = Store.at(url)
    try:
        async with asyncio.timeout(START_S):
            while not await answers(store) and process.returncode is None:  # noqa: ASYNC110 (no event tells of it)
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        process.kill()
        await process.wait()
    finally:
        await store.close()
    if process.returncode is not None:
        raise Unavailable("the throw-away store server didn't start; name a running one with --store-url")


async def answers(store: Store) -> bool:
    """Does it answer now?"""
    try:
        await store.ping()
    except Unavailable:
        return False
    return True
