"""Random documents of the requirement language, small enough that matches and mismatches are both common."""

from typing import Any

from hypothesis import strategies as st

__all__ = ["jobs", "workers"]

TEXTS = ["", "a", "A", "ä", "Ä", "ab", "aXb", "💡", "e\u0301", "x\x00y", '"\\', "1", "1.0", "1.4", "1.4.0-rc1", "1.10"]
TEXTS += ["01.4", "1.4.rc", "1-4", "9" * 20, "9" * 19 + "8", "٣", "z", "-", ".", "none", "loose", "a*b", "%a", "1.٣"]
NUMBERS = [0, -0.0, 1, 1.0, 1.5, 7, -3, 24, 24.0, 2**53 - 1, 1 - 2**53, 1e-7, 0.1]
PARTS = ["a", "b", "c", "8188", "ä"]
IDENTITY = ["worker.id", "agent.id", "hostname", "gpu.uuid"]

texts = st.sampled_from(TEXTS)
numbers = st.sampled_from(NUMBERS)
scalars = st.one_of(texts, numbers, st.booleans())
lists = st.lists(scalars, max_size=3)
globs = st.lists(st.sampled_from(["*", "?", "a", "A", "ä", "b", "x", "1", ".", "%", "💡", "\x00"]), max_size=6).map(
    "".join
)

values = st.recursive(
    st.one_of(scalars, lists),
    lambda inner: st.one_of(st.dictionaries(st.sampled_from(PARTS), inner, max_size=3), lists),
)
capability_paths = st.lists(st.sampled_from(PARTS), min_size=1, max_size=2).map(".".join) | st.sampled_from(IDENTITY)
attribute_paths = st.sampled_from(["service", "customer_id", "labels.a", "labels.b", "workflow.id"])

operators = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne"]), values),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), numbers | texts),
    st.tuples(st.sampled_from(["in", "not_in", "has_all", "has_any", "has_none"]), lists),
    st.tuples(st.just("has"), scalars),
    st.tuples(st.just("like"), globs),
    st.tuples(st.just("exists"), st.booleans()),
)
combinators = st.sampled_from(["all_of", "any_of", "none_of"])


def operator_objects() -> st.SearchStrategy[dict[str, Any]]:
    """Operators that judge one path, combined."""
    plain = st.lists(operators, min_size=1, max_size=2).map(dict)
    return plain | st.tuples(combinators, st.lists(plain, max_size=3)).map(lambda pair: dict([pair]))


def requirements(paths: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Requirement documents over these paths."""
    plain = st.dictionaries(paths, scalars | lists | operator_objects(), min_size=1, max_size=2)
    nested = st.recursive(
        plain,
        lambda inner: st.tuples(combinators, st.lists(inner, max_size=3), plain).map(lambda t: {t[0]: t[1]} | t[2]),
        max_leaves=6,
    )
    return st.just({}) | nested


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    """Jobs as submitted."""
    names = st.sampled_from(["a", "b"])
    isolation = draw(st.sampled_from(["none", "none", "none", "loose", "strict"]))
    optional = {
        "customer_id": draw(names if isolation != "none" else st.none() | names),
        "model": draw(st.sampled_from([None, None, None, "a", "m"])),
        "workflow": draw(st.none() | texts.filter(bool).map(lambda text: {"id": text})),
    }
    return {
        "service": draw(st.sampled_from(["x", "x", "x", "y"])),
        "isolation": isolation,
        "requires": draw(requirements(capability_paths)),
        "labels": draw(st.dictionaries(names, texts, max_size=2)),
        **{key: value for key, value in optional.items() if value is not None},
    }


@st.composite
def workers(draw: st.DrawFn) -> dict[str, Any]:
    """Capability documents with `accepts` and `identity` beside them."""
    customers = draw(st.fixed_dictionaries({}, optional={"allow": short_names, "deny": short_names}))
    isolation = draw(st.sampled_from([None, "none", "loose", "strict"]))
    if isolation != "strict" or customers.get("allow"):
        customers["isolation"] = isolation
    return draw(st.dictionaries(st.sampled_from(PARTS), values | st.none(), max_size=4)) | {
        "services": draw(st.sampled_from([["x"], ["x", "y"], ["x"], []])),
        "models": draw(st.just({}) | st.fixed_dictionaries({"x": st.sampled_from(["m", "a", ["a", "m"], [], 7])})),
        "customers": customers,
        "accepts": draw(st.just({}) | requirements(attribute_paths)),
        "identity": draw(st.dictionaries(st.sampled_from(IDENTITY), texts, max_size=4)),
    }


short_names = st.sampled_from([[], [], ["a"], ["b"], ["a", "b"]])
