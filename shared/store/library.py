"""The function library: joined from its parts, installed upward only.

- The parts in `shared/lua/` are joined in name order; the digest of the joined text stands in it.
- A hub never replaces a newer library; it replaces an equal version only when the text differs (a developer's change).
"""

import hashlib
from pathlib import Path

import msgspec

from shared.errors import Bug, Unavailable
from shared.store.connection import FunctionMissing, Store

__all__ = ["Library", "LibraryStatus", "install", "join", "status"]

LUA_DIR = Path(__file__).parent.parent / "lua"

_DIGEST_MARK = "@DIGEST@"
_VERSION_LINE = "local VERSION = "


class LibraryStatus(msgspec.Struct, frozen=True):
    """What is installed, and what this program brings."""

    #: None: nothing is installed
    installed: int | None
    installed_digest: str | None
    own: int
    own_digest: str

    @property
    def current(self) -> bool:
        """Is the installed library this program's, or a newer one?"""
        if self.installed is None:
            return False
        return self.installed > self.own or (self.installed, self.installed_digest) == (self.own, self.own_digest)


class Library(msgspec.Struct, frozen=True):
    """This program's library."""

    text: str
    version: int
    digest: str


def join(lua_dir: Path = LUA_DIR) -> Library:
    """The library, its parts joined."""
    parts = sorted(lua_dir.glob("*.lua"))
    text = "\n".join(part.read_text(encoding="utf-8").strip() for part in parts) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Library(text.replace(_DIGEST_MARK, digest), _version(text), digest)


def _version(text: str) -> int:
    for line in text.splitlines():
        if line.startswith(_VERSION_LINE):
            return int(line.removeprefix(_VERSION_LINE).strip("'"))
    raise Bug("the function library names no version (shared/lua/00_header.lua)")


async def status(store: Store) -> LibraryStatus:
    """What is installed. Raises: Unavailable."""
    own = join()
    try:
        _, version, digest = await store.call("version", "default")
    except FunctionMissing:
        return LibraryStatus(None, None, own.version, own.digest)
    return LibraryStatus(int(version), digest.decode(), own.version, own.digest)


async def install(store: Store) -> LibraryStatus:
    """The state after installing this program's library, unless a newer one is there.

    Raises:
        Unavailable: the store can't be reached, or refuses the library (its words are in the message).
    """
    before = await status(store)
    if before.current and not await store.lacks_library_somewhere():
        return before
    await store.load_library(join().text)
    after = await status(store)
    if not after.current:
        raise Unavailable(f"function library {after.own} was loaded, but the store answers {after.installed}")
    return after
