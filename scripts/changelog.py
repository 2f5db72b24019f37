"""The changelog knows the version: it has a section for it, or for what isn't released yet."""

import re
import sys
from pathlib import Path


def main() -> int:
    """The exit code."""
    project = Path("pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    package = re.search(r'^__version__ = "(.+)"$', Path("shared/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    sections = re.findall(r"^## \[(.+?)\]", Path("CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if not version or not package or version.group(1) != package.group(1):
        sys.stdout.write("pyproject.toml and shared/__init__.py name different versions\n")
        return 1
    if version.group(1) not in sections and "Unreleased" not in sections:
        sys.stdout.write(f"CHANGELOG.md has no section for {version.group(1)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
