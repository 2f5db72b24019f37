"""How far a whole graph is, from the server's events about its nodes. Pure: events in, progress out.

- The value is the share of the graph's nodes that are done, with the fractions of those that run.
- It never goes back: a server's own figures do (0.99, then 0.67).
- A picture is shown until its node is done.
- Cached nodes are done from the start. Events of another prompt, and shapes nobody knows, change nothing.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from shared.wire.job import Progress

__all__ = ["TERMINAL_EVENTS", "GraphProgress"]

#: after one of these the server is about to write the prompt's history
TERMINAL_EVENTS = frozenset({"execution_success", "execution_error", "execution_interrupted"})


class GraphProgress:
    """The progress of one prompt.

    Args:
        prompt_id: events that name another are ignored.
        classes: node id → class of every node of the graph.
    """

    def __init__(self, prompt_id: str, classes: Mapping[str, str]) -> None:
        self._prompt_id = prompt_id
        self._classes = classes
        self._done: set[str] = set()
        self._shares: dict[str, tuple[float, float]] = {}
        self._current: str | None = None
        #: a node and the picture of what it makes
        self._pictured: tuple[str, str] | None = None
        self._best = 0.0
        self._said: Progress | None = None

    def concerns(self, data: Any) -> bool:
        """Is the event about this prompt?"""
        return isinstance(data, dict) and data.get("prompt_id") == self._prompt_id

    def waiting(self, before: int) -> Progress | None:
        """News for a prompt with so many others before it in the server's queue."""
        where = f"behind {before} others" if before else "next"
        return self._news(Progress(value=self._best, message=f"waiting in ComfyUI's queue, {where}"))

    def hear(self, event: str, data: Any) -> Progress | None:
        """News, or None where the event brings none."""
        listener = self._LISTENERS.get(event)
        if listener is None or not self.concerns(data):
            return None
        listener(self, data)
        return self._news(self._now())

    def node_of(self, prompt_id: str | None, node_id: str | None) -> str | None:
        """The node that makes a picture which comes now; None: it is of another prompt, or nothing runs."""
        if prompt_id not in {None, self._prompt_id}:
            return None
        return node_id if self._knows(node_id) else self._current

    def picture(self, node: str, data_url: str) -> Progress | None:
        """News with the picture of what a node makes; None where it comes too late."""
        if node in self._done:
            return None
        self._pictured = node, data_url
        return self._news(self._now())

    def _cached(self, data: dict[str, Any]) -> None:
        nodes = data.get("nodes")
        self._done |= {node for node in nodes if self._knows(node)} if isinstance(nodes, list) else set()

    def _state(self, data: dict[str, Any]) -> None:
        nodes = data.get("nodes")
        for node, state in nodes.items() if isinstance(nodes, dict) else ():
            if isinstance(state, dict):
                self._node_state(node, state)

    def _node_state(self, node: str, state: dict[str, Any]) -> None:
        if state.get("state") == "finished":
            self._finish(node)
        elif state.get("state") == "running":
            self._share(node, state)

    def _progress(self, data: dict[str, Any]) -> None:
        self._share(data.get("node"), data)

    def _executing(self, data: dict[str, Any]) -> None:
        """The server takes nodes one after the other: where a new one starts, the last one is done.

        No node at all means that the prompt is over, for better or worse.
        """
        node = data.get("node")
        if self._current is not None and isinstance(node, str) and node != self._current:
            self._finish(self._current)
        self._current = node if self._knows(node) else self._current

    def _executed(self, data: dict[str, Any]) -> None:
        self._finish(data.get("node"))

    def _success(self, data: dict[str, Any]) -> None:  # noqa: ARG002 - every listener gets the event's data
        self._done = set(self._classes)

    def _knows(self, node: Any) -> bool:
        """Nodes that a node brought forth while running aren't in the graph."""
        return isinstance(node, str) and node in self._classes

    def _finish(self, node: Any) -> None:
        if self._knows(node):
            self._done.add(node)
            self._shares.pop(node, None)

    def _share(self, node: Any, state: dict[str, Any]) -> None:
        value, most = state.get("value"), state.get("max")
        numbers = isinstance(value, int | float) and isinstance(most, int | float) and most > 0
        if numbers and self._knows(node) and node not in self._done:
            self._shares[node] = (min(float(value), float(most)), float(most))  # type: ignore[arg-type] # numbers: see above
            self._current = node

    def _now(self) -> Progress:
        fractions = sum(value / most for value, most in self._shares.values())
        self._best = max(self._best, round(min(1.0, (len(self._done) + fractions) / len(self._classes)), 4))
        value, most = self._shares.get(self._current or "", (0.0, 0.0))
        counts = most > 1
        return Progress(
            value=self._best,
            message=self._message(),
            step=int(value) if counts else None,
            steps=int(most) if counts else None,
            preview=self._pictured[1] if self._pictured and self._pictured[0] not in self._done else None,
        )

    def _message(self) -> str | None:
        """What runs, or ran last."""
        if self._current:
            return f"{self._classes[self._current]} (node {self._current})"
        return self._said.message if self._said else None

    def _news(self, progress: Progress) -> Progress | None:
        if progress == self._said:
            return None
        self._said = progress
        return progress

    #: event → what it means
    _LISTENERS: ClassVar = {
        "execution_cached": _cached,
        "progress_state": _state,
        "progress": _progress,
        "executing": _executing,
        "executed": _executed,
        "execution_success": _success,
    }
