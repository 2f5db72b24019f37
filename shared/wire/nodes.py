"""Compiled nodes as a numbered tree, and the search for the first that fails.

- Nodes are numbered from 0 in depth-first order, parent first: Lua and Python name the same node by the same number.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgspec

from shared.wire.condition import Found, passes

__all__ = ["NumberedNode", "all_nodes", "first_failing", "read_nodes"]


class NumberedNode(msgspec.Struct, frozen=True):
    """One node of a compiled requirement."""

    number: int
    #: `all`, `any`, `none`, or an operator
    word: str
    children: "tuple[NumberedNode, ...]" = ()
    #: of an operator
    path: str = ""
    operand: Any = None


def read_nodes(node: list[Any]) -> NumberedNode:
    """The tree of a decoded node."""
    return _read(node, count())


def all_nodes(node: NumberedNode) -> Iterator[NumberedNode]:
    """The node and all below it, in the order of their numbers."""
    yield node
    for child in node.children:
        yield from all_nodes(child)


def first_failing(node: NumberedNode, look_up: Callable[[str], Found | None]) -> NumberedNode | None:
    """The first node that fails, None when `node` holds.

    An `all` fails by its first failing part; an `any` and a `none` fail themselves.
    """
    if node.word == "all":
        failing = (first_failing(child, look_up) for child in node.children)
        return next((child for child in failing if child is not None), None)
    if node.word == "any":
        return None if any(first_failing(child, look_up) is None for child in node.children) else node
    if node.word == "none":
        return node if any(first_failing(child, look_up) is None for child in node.children) else None
    return None if passes(node.word, look_up(node.path), node.operand) else node


def _read(node: list[Any], numbers: Iterator[int]) -> NumberedNode:
    number, word = next(numbers), node[0]
    if word in ("all", "any", "none"):
        return NumberedNode(number, word, children=tuple(_read(child, numbers) for child in node[1:]))
    return NumberedNode(number, word, path=node[1], operand=node[2])
