"""Random documents of the requirement language, small enough that matches and mismatches are both common."""

from typing import Any

from hypothesis import strategies as st

__all__ = ["identities", "jobs", "workers"]

TEXTS = ["", "a", "A", "ä", "Ä", "ab", "aXb", "💡", "e\u0301", "x\x00y", '"\\', "1", "1.0", "1.4", "1.4.0-rc1", "1.10"]
TEXTS += ["01.4", "1.4.rc", "1-4", "9" * 20, "9" * 19 + "8", "٣", "z", "-", ".", "none", "loose", "a*b", "%a", "1.٣"]
NUMBERS = [0, -0.0, 1, 1.0, 1.5, 7, -3, 24, 24.0, 2**53 - 1, 1 - 2**53, 1e-7, 0.1]
PARTS = ["a", "b", "c", "8188", "ä"]
IDENTITY = ["worker.id", "agent.id", "hostname", "gpu.uuid"]
PATHS = ["a", "b", "c", "8188", "ä", "a.a", "a.b", "b.a", "b.8188", "c.c.a", "ä.b", *IDENTITY, *IDENTITY]
ATTRIBUTES = ["service", "customer_id", "labels.a", "labels.b", "workflow.id"]
COMBINATORS = ["all_of", "any_of", "none_of"]

Documents = st.SearchStrategy[dict[str, Any]]


def objects(keys: list[str], values: st.SearchStrategy[Any], most: int, *, least: int = 0) -> Documents:
    """Objects with some of these keys."""
    return st.lists(st.tuples(st.sampled_from(keys), values), min_size=least, max_size=most).map(dict)


texts = st.sampled_from(TEXTS)
numbers = st.sampled_from(NUMBERS)
scalars = st.sampled_from([*TEXTS, *NUMBERS, True, False])
lists = st.lists(scalars, max_size=3)
flat = scalars | lists | objects(PARTS, scalars, 2)
values = scalars | lists | objects(PARTS, flat, 3)
globs = st.lists(st.sampled_from("*?aAäbx1.%💡\x00"), max_size=6).map("".join)

operators = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne"]), values),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from([*NUMBERS, *TEXTS])),
    st.tuples(st.sampled_from(["in", "not_in", "has_all", "has_any", "has_none"]), lists),
    st.tuples(st.just("has"), scalars),
    st.tuples(st.just("like"), globs),
    st.tuples(st.just("exists"), st.booleans()),
)
operator_objects = st.lists(operators, min_size=1, max_size=2).map(dict)
conditions = (
    scalars | lists | operator_objects | objects(COMBINATORS, st.lists(operator_objects, max_size=2), 1, least=1)
)


def requirements(paths: list[str]) -> Documents:
    """Requirement documents over these paths, up to three combinators deep."""
    level = plain = objects(paths, conditions, 2, least=1)
    for _ in range(3):
        combined = objects(COMBINATORS, st.lists(level, max_size=2), 1, least=1)
        level = plain | combined | st.tuples(combined, plain).map(lambda pair: pair[0] | pair[1])
    return st.just({}) | level


names = st.sampled_from(["a", "b"])
identities = objects(IDENTITY, texts, 4)

job_documents = st.fixed_dictionaries(
    {
        "service": st.sampled_from(["x"] * 9 + ["y"]),
        "isolation": st.sampled_from(["none"] * 8 + ["loose", "strict"]),
        "requires": requirements(PATHS),
        "labels": objects(["a", "b"], texts, 2),
        "customer_id": names,
    },
    optional={"model": st.sampled_from(["a", "m"]), "workflow": st.builds(dict, id=names)},
)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    """Jobs as submitted."""
    job = draw(job_documents)
    if job["isolation"] == "none" and draw(st.booleans()):
        del job["customer_id"]
    return job


def workers() -> Documents:
    """Capability documents with `accepts` and `identity` beside them."""
    customers = [{}, {}, {}, {"isolation": "loose"}, {"deny": ["a"]}, {"allow": ["a"]}, {"allow": [], "deny": ["b"]}]
    customers += [{"isolation": "strict", "allow": ["a", "b"]}, {"isolation": None, "allow": ["b"], "deny": ["b"]}]
    wanted = {
        "services": st.sampled_from([["x"]] * 9 + [["y"], []]),
        "models": st.sampled_from([{}, {}, {"x": ["a", "m"]}, {"x": "m"}, {"x": []}, {"x": 7}, {"y": ["a"]}]),
        "customers": st.sampled_from(customers),
        "accepts": requirements(ATTRIBUTES),
        "identity": identities,
    }
    free = objects(PARTS, values | st.none(), 4)
    return st.tuples(free, st.fixed_dictionaries(wanted)).map(lambda pair: pair[0] | pair[1])
