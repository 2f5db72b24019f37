"""One store server process: how it is started, what it says about itself, how it is asked to stop.

- It runs in a session of its own: what kills or interrupts the hub leaves it running.
- It gets none of the hub's environment, and no secret on its command line.
- Whether it lives is told by its lock, so a server that another hub started is seen the same way as a child.
"""

import asyncio
import contextlib
import resource
import subprocess
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from shared.errors import Unavailable
from shared.log import get
from shared.store.embedded_files import LOOPBACK, Record, StoreFiles, bind_addresses
from shared.store.embedded_locks import server_lives, server_lock

__all__ = ["Server", "hard_files_limit"]

log = get(__name__)

ANSWER_S = 2.0
POLL_S = 0.02
#: Nobody answers, or not to our password.
SILENT_S = 30.0
#: It answers, and reads its files.
LOADING_S = 1_800.0
LOADING_LOG_S = 5.0
STOP_S = 60.0


class Server:
    """The server of one store folder, at one port."""

    def __init__(self, files: StoreFiles, record: Record) -> None:
        self._files = files
        self._record = record
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = files.log_bytes()

    def lives(self) -> bool:
        """Whether a server, whoever started it, is alive on these files."""
        if self._process and self._process.poll() is None:  # asked first: its lock goes a moment before it
            return True
        return server_lives(self._files.lock_file)

    def launch(self, program: Path, *, bind: str) -> None:
        """Start the program on these files; it doesn't answer yet."""
        self._files.write_settings(self._record, bind=bind, files_limit=hard_files_limit())
        self._log_start = self._files.log_bytes()
        with server_lock(self._files.lock_file) as lock, self._files.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [program, self._files.settings_file],
                cwd=self._files.folder,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                pass_fds=(lock,),
            )

    async def ready(self) -> bool:
        """True as soon as it answers commands, False as soon as it is dead.

        Raises:
            Unavailable: it lives but doesn't answer in time.
        """
        clock = asyncio.get_running_loop().time
        deadline, next_line = clock() + SILENT_S, clock()
        while self.lives():
            facts = await self._facts()
            if facts and not facts["loading"]:
                return True
            if facts and clock() >= next_line:
                log.info(
                    "store.loading", percent=facts.get("loading_loaded_perc"), eta_s=facts.get("loading_eta_seconds")
                )
                deadline, next_line = max(deadline, clock() + LOADING_S), clock() + LOADING_LOG_S
            if clock() > deadline:
                raise Unavailable(self._silence())
            await asyncio.sleep(POLL_S)
        return False

    async def listen_on(self, bind: str) -> None:
        """Make a running server listen on these addresses.

        Raises:
            Unavailable: it can't (this machine hasn't got the address).
        """
        wanted = " ".join(bind_addresses(bind))
        async with self._client() as client:
            if (await client.config_get("bind"))["bind"] == wanted:
                return
            try:
                await client.config_set("bind", wanted)
            except ResponseError as error:
                raise Unavailable(f"the store can't listen on {bind} ({error}); check --store-bind") from None
        log.info("store.bound", bind=bind)

    async def stop(self) -> None:
        """Shut it down cleanly, everything written; returns when it is gone.

        Raises:
            Unavailable: it didn't go within 60 s; it is left alone.
        """
        if not self.lives():
            return
        async with self._client() as client:
            with contextlib.suppress(RedisError):  # it closes the connection; whether it went is seen below
                await client.shutdown()
        await self._gone()

    async def abandon(self) -> None:
        """Take back a launch that came to nothing: stop the server if this hub started it."""
        if self._process and self.lives():
            self._process.terminate()
            await self._gone()

    def last_words(self) -> str:
        """The last lines it wrote since it was launched."""
        return self._files.log_tail(self._log_start)

    async def _gone(self) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                while self.lives():  # noqa: ASYNC110 (no event tells of the end of a process that isn't our child)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise Unavailable(f"the store (pid {self._files.server_pid()}) didn't stop within {STOP_S} s") from None

    async def _facts(self) -> dict[str, Any] | None:
        """What `INFO persistence` says; None when nobody answers to our password."""
        try:
            async with self._client() as client:
                facts: dict[str, Any] = await client.info("persistence")
                return facts
        except (RedisError, OSError):
            return None

    def _client(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(
            host=LOOPBACK,
            port=self._record.port,
            password=self._record.password,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def _silence(self) -> str:
        pid = self._files.server_pid()
        return (
            f"the store server of {self._files.folder} (pid {pid}) is alive, but nobody answers on port "
            f"{self._record.port} to the password of {self._files.record_file.name}; `kill {pid}` and start again"
        )


def hard_files_limit() -> int:
    """How many files a process of ours may open at most."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard
