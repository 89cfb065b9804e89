"""JSON that is read, and JSON that is refused before anything trips over it."""

import json

import pytest
from work import work

from minigrad.data.json_text import from_json


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "text", [], {}, [1, {"a": [2, {}]}], {"a": {"b": None}}])
def test_values(value):
    assert from_json(json.dumps(value)) == from_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("opening", "inner", "closing"), [("[", "", "]"), ("[", "1", "]"), ('{"a":', "1", "}"), ('[{"a":', "1", "}]")]
)
def test_nesting(opening, inner, closing):
    each = len(closing)
    for depth in (1, 2, 50, 100 // each):
        json.dumps(from_json(opening * depth + inner + closing * depth), indent=2)
    for depth in (102 // each, 400, 990 // each, 10**5):
        with pytest.raises(ValueError, match="^it is nested more than 100 deep$"):
            from_json(opening * depth + inner + closing * depth)


def test_numbers_of_thousands_of_digits():
    assert from_json("9" * 4000) == int("9" * 4000)
    with pytest.raises(ValueError, match="^it has a whole number of thousands of digits$"):
        from_json("9" * 5000)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", b"\xff", '{"a" 1}'])
def test_what_is_no_json(text):
    with pytest.raises(ValueError):
        from_json(text)


def test_the_cost_is_linear():
    def nested(count):
        return "[" + ",".join(["[[]]"] * count) + "]"

    assert len(from_json(nested(200_000))) == 200_000
    assert work(lambda: from_json(nested(2000))) < 2.2 * work(lambda: from_json(nested(1000)))


def test_pairs():
    assert from_json('{"a": 1, "a": 2}', object_pairs_hook=list) == [("a", 1), ("a", 2)]
