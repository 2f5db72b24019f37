"""The operating system: the distribution by its own file, or what the platform calls itself; and the architecture.

Source: os-release(5).
"""

import platform
import shlex
from pathlib import Path

from agent.probes.base import Part, Probe, blocking

__all__ = ["os_part", "os_probe", "own_words", "parse_os_release"]

#: the first that exists counts
PLACES = ("etc/os-release", "usr/lib/os-release")


def os_probe(root: Path = Path("/")) -> Probe:
    """Reads `os`."""

    async def read() -> Part:
        return await blocking(lambda: os_part(_release(root) or own_words(), arch=platform.machine()))

    return Probe(name="os", read=read)


def os_part(release: dict[str, str], *, arch: str) -> Part:
    """`{"os": {"name": "ubuntu", "version": "22.04", "arch": "x86_64"}}`; what is unknown is left out."""
    found = {"name": release.get("ID"), "version": release.get("VERSION_ID"), "arch": arch}
    system = {name: value for name, value in found.items() if value}
    return {"os": system} if system else {}


def own_words(system: str | None = None, version: str | None = None) -> dict[str, str]:
    """What a platform without such a file calls itself: `macos`, `windows`; None: see for yourself."""
    name = (system or platform.system()).lower()
    if name == "darwin":
        return {"ID": "macos", "VERSION_ID": version or platform.mac_ver()[0]}
    return {"ID": name, "VERSION_ID": version or ""} if name != "linux" else {}


def parse_os_release(text: str) -> dict[str, str]:
    """`ID=ubuntu`, `VERSION_ID="22.04"` as names and unquoted values; lines that are neither are skipped."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    try:
        return "".join(shlex.split(value))
    except ValueError:  # a quote without its partner
        return value


def _release(root: Path) -> dict[str, str]:
    for place in PLACES:
        try:
            return parse_os_release((root / place).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return {}
