"""Hold the size limits: functions of at most 60 lines, files of at most 400 (tests 500), nesting of at most 3.

Lua functions count as well. Prints each breach and exits 1.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_FUNCTION_LINES = 60
MOST_FILE_LINES = 400
MOST_TEST_LINES = 500
MOST_METHODS = 10
MOST_NESTING = 3
FOLDERS = ("hub", "agent", "shared", "build", "scripts", "tests")
#: what a reader has to keep in mind; a `with` opens no branch
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def main() -> int:
    """The exit code."""
    paths = sorted(path for folder in FOLDERS for suffix in ("py", "lua") for path in Path(folder).rglob(f"*.{suffix}"))
    breaches = [breach for path in paths for breach in breaches_of(path, path.read_text(encoding="utf-8"))]
    sys.stdout.writelines(f"{breach}\n" for breach in breaches)
    return 1 if breaches else 0


def breaches_of(path: Path, text: str) -> Iterator[str]:
    """What breaks a limit in one file, each with its place."""
    lines = text.count("\n")
    most = MOST_TEST_LINES if path.parts[0] == "tests" else MOST_FILE_LINES
    if lines > most:
        yield f"{path}: {lines} lines, at most {most}"
    yield from lua_functions(path, text) if path.suffix == ".lua" else python_parts(path, ast.parse(text))


def python_parts(path: Path, tree: ast.AST) -> Iterator[str]:
    """Functions that are too long or too deep, classes with too many public methods."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            yield from function_breaches(path, node)
        if isinstance(node, ast.ClassDef):
            public = [item for item in node.body if isinstance(item, FUNCTIONS) and not item.name.startswith("_")]
            if len(public) > MOST_METHODS and path.parts[0] != "tests":
                yield f"{path}:{node.lineno} {node.name}: {len(public)} public methods, at most {MOST_METHODS}"


def function_breaches(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Too long, too deep."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > MOST_FUNCTION_LINES:
        yield f"{path}:{node.lineno} {node.name}: {length} lines, at most {MOST_FUNCTION_LINES}"
    if (depth := nesting(node)) > MOST_NESTING:
        yield f"{path}:{node.lineno} {node.name}: nested {depth} deep, at most {MOST_NESTING}"


def nesting(node: ast.AST) -> int:
    """How deep blocks stand in one another, not counting functions within."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        deepest = max(deepest, nesting(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def lua_functions(path: Path, text: str) -> Iterator[str]:
    """Too long functions: from a line that begins with `function` to the next `end` in the first column."""
    for found in re.finditer(r"^(?:local )?function ([\w.]+).*?^end$", text, re.MULTILINE | re.DOTALL):
        length = found.group().count("\n") + 1
        if length > MOST_FUNCTION_LINES:
            line = text[: found.start()].count("\n") + 1
            yield f"{path}:{line} {found.group(1)}: {length} lines, at most {MOST_FUNCTION_LINES}"


if __name__ == "__main__":
    sys.exit(main())
