"""Lua and its Python twin agree on ten thousand random pairs: match, part and node, for a worker and for its class.

Plain seeded generators: hypothesis (test_match_random.py) shrinks what it finds, but would not make as many in time.
Another ten thousand: MUSTER_MATCH_SEED=7 pytest tests/lua/test_match_bulk.py
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from shared.wire.compiled import compile_job, compile_worker, read_worker
from shared.wire.decode import convert
from shared.wire.job import JobRequest
from shared.wire.match import takes
from shared.wire.words import IDENTITY_PATHS
from tests.support.lua_match import LuaMatcher
from tests.support.match_documents import ATTRIBUTES, COMBINATORS, IDENTITY, NUMBERS, PARTS, PATHS, TEXTS

SEED = int(os.environ.get("MUSTER_MATCH_SEED", "1"))
CASES = 10_000

CUSTOMERS: list[Any] = [
    *[{}] * 4,
    *[{"isolation": "loose"}, {"deny": ["a"]}, {"allow": ["a"]}, {"allow": [], "deny": ["b"]}],
    *[{"isolation": "strict", "allow": ["a", "b"]}, {"isolation": None, "allow": ["b"], "deny": ["b"]}],
]
MODELS = [{}, {}, {"x": ["a", "m"]}, {"x": "m"}, {"x": []}, {"x": 7}, {"y": ["a"]}]


class Documents:
    """Random documents of the requirement language; what it makes is small, so that matches are common."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.one_of = self.random.choice

    def some(self, make: Callable[[], Any], most: int, *, least: int = 0) -> list[Any]:
        return [make() for _ in range(self.random.randint(least, most))]

    def object(self, keys: Sequence[str], make: Callable[[], Any], most: int, *, least: int = 0) -> dict[str, Any]:
        return {self.one_of(keys): make() for _ in range(self.random.randint(least, most))}

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    # ---------------------------------------------------------------------------------------------------- values
    def scalar(self) -> Any:
        return self.one_of([*TEXTS, *NUMBERS, True, False])

    def list(self) -> Any:
        return self.some(self.scalar, 3)

    def value(self, depth: int = 2) -> Any:
        makers = [self.scalar, self.scalar, self.list]
        if depth and self.chance(0.3):
            return self.object(PARTS, lambda: self.value(depth - 1), 3)
        return self.one_of(makers)()

    # ----------------------------------------------------------------------------------------------- requirements
    def operator(self) -> tuple[str, Any]:
        makers: dict[str, Callable[[], Any]] = {
            **dict.fromkeys(("eq", "ne"), lambda: self.value(1)),  # deeper, a document may have over 8 levels
            **dict.fromkeys(("gt", "gte", "lt", "lte"), lambda: self.one_of([*NUMBERS, *TEXTS])),
            **dict.fromkeys(("in", "not_in", "has_all", "has_any", "has_none"), self.list),
            "has": self.scalar,
            "like": lambda: "".join(self.some(lambda: self.one_of("*?aAäbx1.%💡\x00"), 6)),
            "exists": lambda: self.chance(0.5),
        }
        word = self.one_of(list(makers))
        return word, makers[word]()

    def operators(self) -> dict[str, Any]:
        return dict(self.some(self.operator, 2, least=1))

    def condition(self) -> Any:
        makers = [self.scalar, self.list, self.operators, self.operators]
        if self.chance(0.15):
            return {self.one_of(COMBINATORS): self.some(self.operators, 2)}
        return self.one_of(makers)()

    def requirement(self, paths: Sequence[str], depth: int = 3) -> dict[str, Any]:
        plain = self.object(paths, self.condition, 2, least=1)
        if not depth or self.chance(0.6):
            return plain
        combined = {self.one_of(COMBINATORS): self.some(lambda: self.requirement(paths, depth - 1), 2)}
        return combined | plain if self.chance(0.5) else combined

    # -------------------------------------------------------------------------------------------- jobs and workers
    def texts(self, keys: Sequence[str], most: int) -> dict[str, Any]:
        return self.object(keys, lambda: self.one_of(TEXTS), most)

    def job(self) -> dict[str, Any]:
        job = {
            "service": self.one_of("xxxxxxxxxy"),
            "isolation": self.one_of(["none"] * 8 + ["loose", "strict"]),
            "requires": {} if self.chance(0.1) else self.requirement(PATHS),
            "labels": self.texts("ab", 2),
            "customer_id": self.one_of("ab"),
        }
        if job["isolation"] == "none" and self.chance(0.5):
            del job["customer_id"]
        job |= {"model": self.one_of("am")} if self.chance(0.3) else {}
        return job | ({"workflow": {"id": self.one_of("ab")}} if self.chance(0.3) else {})

    def worker(self) -> dict[str, Any]:
        free = self.object(PARTS, lambda: None if self.chance(0.05) else self.value(), 4)
        return free | {
            "services": self.one_of([["x"]] * 9 + [["y"], []]),
            "models": self.one_of(MODELS),
            "customers": self.one_of(CUSTOMERS),
            "accepts": {} if self.chance(0.4) else self.requirement(ATTRIBUTES, 2),
            "identity": self.texts(IDENTITY, 4),
        }


def test_both_engines_give_the_same_verdict_on_ten_thousand_pairs() -> None:
    matcher, documents = LuaMatcher(), Documents(SEED)
    seen: Counter[str | None] = Counter()
    of_class: Counter[bool | None] = Counter()
    for _ in range(CASES):
        job, worker = documents.job(), documents.worker()
        pair = compile_job(convert(JobRequest, job)), compile_worker(read_worker(worker))
        verdict = takes(*pair)
        assert matcher.takes(*pair) == verdict, (job, worker)
        answer = matcher.class_takes(*pair)
        assert answer in (None, verdict.match), (job, worker)
        assert answer is not None or any(f'"{path}"' in pair[0].requirement for path in IDENTITY_PATHS), (job, worker)
        seen[verdict.part] += 1
        of_class[answer] += 1
    assert set(seen) == {None, "service", "model", "isolation", "customers", "requires", "accepts"}, seen
    assert min(seen.values()) > 100, seen
    assert min(of_class[True], of_class[False], of_class[None]) > 300, of_class
