"""The Lua matcher in plain Lua 5.1, without a server: the parts from `20_` to `24_`, with a stand-in for `cjson`.

- The stand-in decodes as `cjson` does: arrays count from 1, `[]` and `{}` are both an empty table, numbers are doubles,
  null is a userdata.
"""

import json
from pathlib import Path
from typing import Any

from lupa import lua51

from shared.wire.compiled import CompiledJob, CompiledWorker
from shared.wire.match import Verdict

__all__ = ["LuaMatcher"]

LUA_DIR = Path(__file__).parents[2] / "shared" / "lua"
PARTS = ("02_parts.lua", "20_documents.lua", "22_conditions.lua", "24_match.lua")

ENTRY_POINTS = """
local function takes(job, attributes, capability, accepts, identity)
  local worker = {
    capability = documents.capability(capability), accepts = documents.accepts(accepts),
    identity = identity and documents.identity(identity) or nil,
  }
  local answer, part, node = match.takes(documents.requirement(job), documents.identity(attributes), worker)
  return {answer = answer, part = part, node = node}
end
return {takes = takes, documents = documents}
"""


class LuaMatcher:
    """`match.takes` as a Python call."""

    def __init__(self) -> None:
        lua = lua51.LuaRuntime(unpack_returned_tuples=True)
        self._lua = lua
        self._null = lua.eval("newproxy()")
        lua.globals().cjson = lua.table_from({"decode": self._decode})
        text = "\n".join((LUA_DIR / part).read_text(encoding="utf-8") for part in PARTS)
        self._entry_points = lua.execute(text + ENTRY_POINTS)

    @property
    def documents(self) -> Any:
        """The Lua table `documents`."""
        return self._entry_points.documents

    def takes(self, job: CompiledJob, worker: CompiledWorker) -> Verdict:
        """The verdict on this very worker."""
        answer, part, node = self._ask(job, worker, worker.identity)
        return Verdict(match=answer, part=part, node=node)

    def class_takes(self, job: CompiledJob, worker: CompiledWorker) -> bool | None:
        """The verdict on all workers of its class: None when it depends on which of them it is."""
        answer: bool | None = self._ask(job, worker, None)[0]
        return answer

    def _ask(self, job: CompiledJob, worker: CompiledWorker, identity: str | None) -> tuple[Any, Any, Any]:
        attributes = json.dumps(job.attributes)
        answer = self._entry_points.takes(job.requirement, attributes, worker.capability, worker.accepts, identity)
        return answer.answer, answer.part, answer.node

    def _decode(self, text: str) -> Any:
        return self._to_lua(json.loads(text))

    def _to_lua(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._lua.table_from({key: self._to_lua(part) for key, part in value.items()})
        if isinstance(value, list):
            return self._lua.table_from([self._to_lua(part) for part in value])
        if value is None:
            return self._null
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
