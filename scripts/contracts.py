"""Hold the lists of the import contracts against what there is, so that a new module or package can't slip past one.

import-linter has no word for "all but": the contracts in pyproject.toml spell it out.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli

WIRE = "the wire imports the standard library and msgspec only"
REDIS = "only the store imports redis"
FOLDERS = ("hub", "agent", "shared")


def main() -> int:
    """The exit code."""
    project = tomli.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    contracts = {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}
    shared = shared_modules()
    gaps = [
        *missing(contracts[WIRE], "forbidden_modules", (shared - {"shared.wire"}) | (imported() - {"msgspec"})),
        *missing(contracts[REDIS], "source_modules", {"hub", "agent", *shared} - {"shared.store"}),
    ]
    sys.stdout.writelines(f"{gap}\n" for gap in gaps)
    return 1 if gaps else 0


def missing(contract: dict[str, Any], key: str, wanted: set[str]) -> Iterator[str]:
    """What a contract's list lacks."""
    for name in sorted(wanted - {*contract[key]}):
        yield f"pyproject.toml, contract {contract['name']!r}: add {name!r} to {key}"


def shared_modules() -> set[str]:
    """Modules and packages right below `shared`; a folder without Python is none."""
    files = {f"shared.{path.stem}" for path in Path("shared").glob("*.py") if path.stem != "__init__"}
    return files | {f"shared.{path.parent.name}" for path in Path("shared").glob("*/__init__.py")}


def imported() -> set[str]:
    """The packages of others that the product imports anywhere."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for folder in FOLDERS for path in Path(folder).rglob("*.py"))
    names = {name.partition(".")[0] for tree in trees for node in ast.walk(tree) for name in names_in(node)}
    return names - sys.stdlib_module_names - {*FOLDERS}


def names_in(node: ast.AST) -> list[str]:
    """The modules that an import names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


if __name__ == "__main__":
    sys.exit(main())
