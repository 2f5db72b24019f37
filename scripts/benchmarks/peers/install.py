"""The peers' programs, installed when first wanted into the cache folder. What can't be installed is told, not raised.

- One Python environment a peer: their pins of the redis client exclude one another.
- A folder says by its `installed` file what it was made from, and is made anew when that changed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.benchmarks.peers.side import Home, Side

__all__ = ["command_of", "version_of"]

HERE = Path(__file__).parent
INSTALL_S = 600.0


def command_of(side: Side) -> list[str] | None:
    """What starts the side's programs, to be followed by the role; None: it can't be had, which has been said."""
    if side.home is Home.CHECKOUT:
        return _python(sys.executable, side)
    folder = _cache() / side.name
    try:
        _prepare(side, folder)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None)
        why = said.strip().splitlines()[-1] if isinstance(said, str) and said.strip() else str(error)
        print(f"skipped {side.title}: it can't be installed: {why}")
        return None
    if side.home is Home.VENV:
        return _python(str(folder / "bin" / "python"), side)
    shutil.copy(HERE / side.name / "side.mjs", folder)
    return [shutil.which("node") or "node", str(folder / "side.mjs")]


def version_of(side: Side) -> str:
    """The pinned version of the peer's package; nothing for this checkout's sides."""
    if side.home is Home.CHECKOUT:
        return ""
    found = re.search(rf'^\W*{re.escape(side.package)}(?:==|": ")([\w.]+)', _pins(side).read_text(), re.MULTILINE)
    return found.group(1) if found else ""


def _python(python: str, side: Side) -> list[str]:
    return [python, "-m", "scripts.benchmarks.peers.launch", f"{side.name}_side"]


def _pins(side: Side) -> Path:
    if side.home is Home.NODE:
        return HERE / side.name / "package.json"
    return HERE / "requirements" / f"{side.name}.txt"


def _cache() -> Path:
    of_user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muster"
    return Path(os.environ.get("MUSTER_CACHE_DIR") or of_user) / "bench-peers"


def _prepare(side: Side, folder: Path) -> None:
    stamp = folder / "installed"
    wanted = f"{sys.version_info[:2]}\n{_pins(side).read_text()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {side.title} in {folder} (once)", file=sys.stderr)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if side.home is Home.NODE:
        _install_node(side, folder)
    else:
        _install_python(side, folder)
    stamp.write_text(wanted)


def _install_python(side: Side, folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--requirement", str(_pins(side))])


def _install_node(side: Side, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm isn't installed")
    shutil.copy(_pins(side), folder)
    _run([npm, "install", "--prefix", str(folder), "--no-package-lock", "--no-audit", "--no-fund", "--silent"])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL)
