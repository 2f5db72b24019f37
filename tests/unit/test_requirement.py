"""What a requirement document compiles to, and every refusal with its pointer and remedy."""

from typing import Any

import pytest

from shared.wire.fault import InvalidDocument
from shared.wire.requirement import compile_requirement


@pytest.mark.parametrize(
    ("document", "node"),
    [
        ({}, ["all"]),
        ({"gpu.memory_gb": 16.0}, ["all", ["gte", "gpu.memory_gb", 16]]),
        ({"gpu": {"memory_gb": 16}}, ["all", ["gte", "gpu.memory_gb", 16]]),
        ({"a.b": {"c": {"d.e": "x"}}}, ["all", ["is", "a.b.c.d.e", "s:x"]]),
        ({"mig": False}, ["all", ["eq", "mig", "b:0"]]),
        ({"tags": ["b", 7.0, "a", True, "b"]}, ["all", ["covers", "tags", ["b:1", "n:7", "s:a", "s:b"]]]),
        ({"a": {"eq": {"y": [1.0, "1"], "x": -0.0}}}, ["all", ["eq", "a", 'o:{"x":0,"y":[1,"1"]}']]),
        ({"a": {"lt": "1.2", "gte": 1.5}}, ["all", ["gte", "a", 1.5], ["lt", "a", "1.2"]]),
        ({"a": {"has": "x"}}, ["all", ["has_all", "a", ["s:x"]]]),
        ({"a": {"exists": True, "like": "X*"}}, ["all", ["exists", "a", 1], ["like", "a", "X*"]]),
        ({"a": {"exists": False}}, ["all", ["exists", "a", 0]]),
        (
            {"a": {"none_of": [{"eq": 1}, {"lt": 3, "gt": 2}]}},
            ["all", ["none", ["all", ["gt", "a", 2], ["lt", "a", 3]], ["eq", "a", "n:1"]]],
        ),
        ({"any_of": []}, ["all", ["any"]]),
        ({"all_of": []}, ["all"]),
        ({"any_of": [{"a": 1}]}, ["all", ["gte", "a", 1]]),
        ({"any_of": [{"a": 1}, {"b": 1}, {"a": 1.0}]}, ["all", ["any", ["gte", "a", 1], ["gte", "b", 1]]]),
        ({"none_of": [{"none_of": [{"a": 1}]}]}, ["all", ["none", ["none", ["gte", "a", 1]]]]),
    ],
)
def test_a_document_compiles_to_its_tree(document: Any, node: Any) -> None:
    assert compile_requirement(document) == node


def test_documents_that_say_the_same_compile_to_the_same_tree() -> None:
    one = {"gpu": {"memory_gb": 16, "count": 1}, "tags": ["x", "y"], "all_of": [{"os.name": "ubuntu"}]}
    other = {"os": {"name": "ubuntu"}, "tags": ["y", "x"], "gpu.count": {"gte": 1.0}, "gpu.memory_gb": 16.0}
    assert compile_requirement(one) == compile_requirement(other)


@pytest.mark.parametrize(
    ("document", "pointer", "told"),
    [
        # unknown operators, with the nearest name
        ({"gpu.memory_gb": {"gte2": 16}}, "/gpu.memory_gb/gte2", "unknown operator 'gte2', did you mean 'gte'?"),
        ({"gpu": {"memory_gb": {"gtee": 16}}}, "/gpu/memory_gb/gtee", "did you mean 'gte'?"),
        ({"rack": {"$gte": 16}}, "/rack/$gte", "did you mean 'gte'?"),
        ({"rack": {">=": 16}}, "/rack/>=", "did you mean 'gte'?"),
        ({"tags": {"contains": "x"}}, "/tags/contains", "did you mean 'has'?"),
        ({"rack": {"notIn": [1]}}, "/rack/notIn", "did you mean 'not_in'?"),
        ({"rack": {"hasall": [1]}}, "/rack/hasall", "did you mean 'has_all'?"),
        ({"rack": {"exist": True}}, "/rack/exist", "did you mean 'exists'?"),
        ({"rack": {"gte": 1, "lt2": 3}}, "/rack/lt2", "did you mean 'lt'?"),
        ({"gpu.memory_gb": {"minimum": 16}}, "/gpu.memory_gb/minimum", "unknown operator 'minimum', one of eq, exists"),
        ({"anyof": [{"rack": 1}]}, "/anyof", "unknown combinator 'anyof', did you mean 'any_of'?"),
        ({"rack": {"any_off": []}}, "/rack/any_off", "did you mean 'any_of'?"),
        # mixed, without a path, empty
        ({"rack": {"gte": 1, "unit": 2}}, "/rack", "mixed in one object"),
        ({"gte": 16}, "/gte", "operator 'gte' without a path"),
        ({"any_of": [{"exists": True}]}, "/any_of/0/exists", "without a path"),
        ({"gpu": {}}, "/gpu", "an empty condition"),
        ({"any_of": [{}]}, "/any_of/0", "an empty condition"),
        # operands of the wrong type
        ({"a": {"in": "24"}}, "/a/in", "expected in: a list, got a string"),
        ({"a": {"not_in": {"x": 1}}}, "/a/not_in", "got an object"),
        ({"a": {"has_any": 7}}, "/a/has_any", "got a number"),
        ({"a": {"has_none": True}}, "/a/has_none", "got true or false"),
        ({"a": {"exists": 1}}, "/a/exists", "expected exists: true or false, got a number"),
        ({"a": {"has": ["x"]}}, "/a/has", "got a list"),
        ({"a": {"gte": True}}, "/a/gte", "expected gte: a number or a version"),
        ({"a": {"lt": [1]}}, "/a/lt", "got a list"),
        ({"a": {"like": 4090}}, "/a/like", "expected like: a string"),
        ({"a": {"like": "*" * 257}}, "/a/like", "at most 256 characters, got 257"),
        ({"any_of": {"a": 1}}, "/any_of", "expected any_of: a list of objects"),
        ({"any_of": [3]}, "/any_of/0", "expected an object of conditions"),
        ({"rack": {"any_of": [80]}}, "/rack/any_of/0", '{"gte": 16}'),
        # null, NaN, lists of non-scalars, broken text
        ({"a": None}, "/a", "null says nothing"),
        ({"a": {"eq": None}}, "/a/eq", "null"),
        ({"a": {"eq": {"b": [1, None]}}}, "/a/eq/b/1", "null"),
        ({"a": ["x", None]}, "/a/1", "null"),
        ({"any_of": [None]}, "/any_of/0", "expected an object of conditions"),
        ({"a": float("nan")}, "/a", "finite"),
        ({"a": {"gt": float("inf")}}, "/a/gt", "finite"),
        ({"a": [float("nan")]}, "/a/0", "finite"),
        ({"a": 10**400}, "/a", "finite"),
        ({"a": [["x"]]}, "/a/0", "expected a list of strings, numbers, true or false"),
        ({"a": {"in": [{"b": 1}]}}, "/a/in/0", "expected a list of strings"),
        ({"a": "\ud800"}, "/a", "Unicode"),
        ({"\ud800": 1}, "", "Unicode"),
        ({"a": {"eq": {"\ud800": 1}}}, "/a/eq", "Unicode"),
        # paths
        ({"": 1}, "/", "empty part"),
        ({"gpu..memory_gb": 1}, "/gpu..memory_gb", "empty part"),
        ({".gpu": 1}, "/.gpu", "empty part"),
        ({"gpu": {"": 1}}, "/gpu/", "empty part"),
        ({"a/b~.": 1}, "/a~1b~0.", "empty part"),
        ({"rack.gte": 16}, "/rack.gte", "'gte' is a word of the requirement language"),
        # no object
        ([], "", "expected an object of conditions"),
        ("any", "", "expected an object of conditions"),
        (None, "", "expected an object of conditions"),
    ],
)
def test_what_is_not_understood_is_refused_where_it_stands(document: Any, pointer: str, told: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        compile_requirement(document)
    assert (refused.value.code, refused.value.pointer) == ("invalid_requirement", pointer)
    assert told in refused.value.detail


@pytest.mark.parametrize(
    "document",
    [
        {"models": {"hash": "abc"}},
        {"gpu": {"gtx": True}},
        {"resolution": {"min": 512, "max": 2048}},
        {"network": {"name": "lan", "in_use": True}},
        {"port": {"gateway": 1}},
        {"gte2": 16},
        {"gpu.memory_gb.gte2": 16},
        {"a": {"g.te": 1}},
        {"a": {"gte": 1e300}},
        {"a": {"eq": {"b": {"gte": [[1]]}}}},
    ],
)
def test_a_word_that_only_resembles_an_operator_is_a_path(document: Any) -> None:
    assert compile_requirement(document)[0] == "all"


def nested(levels: int) -> dict[str, Any]:
    """A document with so many levels of objects."""
    document: dict[str, Any] = {"a": 1}
    for _ in range(levels - 1):
        document = {"all_of": [document]}
    return document


def refusal(document: Any) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as refused:
        compile_requirement(document)
    assert refused.value.code == "invalid_requirement"
    return refused.value


def test_eight_levels_of_objects_pass_and_nine_are_refused() -> None:
    assert compile_requirement(nested(8)) == ["all", ["gte", "a", 1]]
    fault = refusal(nested(9))
    assert fault.pointer == "/all_of/0" * 8
    assert "at most 8 levels" in fault.detail


def test_an_operand_counts_its_own_levels() -> None:
    operand: Any = 1
    for _ in range(6):
        operand = {"x": operand}
    assert compile_requirement({"a": {"eq": operand}})
    assert refusal({"a": {"eq": {"x": operand}}}).pointer == "/a/eq" + "/x" * 6


def test_a_thousand_levels_are_refused_without_a_crash() -> None:
    operand: Any = 1
    for _ in range(5000):
        operand = [operand]
    assert "levels" in refusal({"a": {"eq": operand}}).detail
    assert "levels" in refusal(nested(5000)).detail


def test_128_conditions_pass_and_129_are_refused() -> None:
    assert len(compile_requirement({f"p{i}": i for i in range(128)})) == 129
    fault = refusal({"all_of": [{f"p{i}": {"gte": 1, "lt": 2}} for i in range(65)]})
    assert (fault.pointer, "at most 128 conditions" in fault.detail) == ("/all_of/64/p64/gte", True)


def test_16_kib_pass_and_one_byte_more_is_refused() -> None:
    around = len('{"a":""}')
    assert compile_requirement({"a": "x" * (16 * 1024 - around)})
    fault = refusal({"a": "ä" * ((16 * 1024 - around) // 2) + "x"})
    assert fault.pointer == ""
    assert "at most 16384 bytes of conditions, got 16385" in fault.detail
