"""Where files are kept on this machine, for root and for anybody else (XDG base directories).

- Reads nothing but the environment it is given.
"""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["config_file", "state_dir"]


def config_file(name: str, *, environ: Mapping[str, str], root: bool = False) -> Path:
    """Where a configuration file is looked for: `/etc/muster/<name>` or `~/.config/muster/<name>`."""
    return (Path("/etc") if root else base(environ, "XDG_CONFIG_HOME", ".config")) / "muster" / name


def state_dir(part: str, *, environ: Mapping[str, str], root: bool = False) -> Path:
    """Where a part (`hub`, `agent`) keeps its files: `/var/lib/muster-<part>` or `~/.local/state/muster/<part>`."""
    return (
        Path(f"/var/lib/muster-{part}") if root else base(environ, "XDG_STATE_HOME", ".local/state") / "muster" / part
    )


def base(environ: Mapping[str, str], name: str, fallback: str) -> Path:
    """An XDG directory. The standard has relative ones ignored."""
    given = Path(environ.get(name, ""))
    return given if given.is_absolute() else Path(environ.get("HOME", "~")).expanduser() / fallback
