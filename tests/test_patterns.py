"""Patterns match whole names, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.patterns import match, matches

NAMES = st.lists(st.text("abc_01", min_size=1), min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "name", "groups"),
    [
        ("a.weight", "a.weight", ()),
        ("a.weight", "b.a.weight", None),
        ("a.weight", "axweight", None),  # a dot is a dot
        ("*.weight", "a.weight", ("a",)),
        ("*.weight", "a.b.weight", None),
        ("**.weight", "a.b.weight", ("a.b",)),
        ("**.weight", "weight", None),  # one step at least
        ("*", "", None),
        # part of a step, which is not empty either, and ends where the step does
        ("conv*.weight", "conv10.weight", ("10",)),
        ("conv*.weight", "conv.weight", None),
        ("conv*", "conv1.weight", None),
        ("**", "a.b", ("a.b",)),
        ("h.*.attn.**", "h.3.attn.c.weight", ("3", "c.weight")),
        ("**.attn.bias", "h.0.attn.c_attn.bias", None),
        ("layer.{0..3}.*", "layer.2.weight", ("weight",)),
        ("layer.{8..11}.*", "layer.10.weight", ("weight",)),
        ("layer.{0..3}.*", "layer.4.weight", None),
        ("layer.{1..2}.w", "layer.12.w", None),
        ("{query,value}.weight", "query.weight", ()),
        ("{query,value}.weight", "key.weight", None),
        ("{a.b,c+}", "c+", ()),
        ("{a.b,c+}", "axb", None),
        ("a\n", "a", None),
    ],
)
def test_match(pattern, name, groups):
    found = match(pattern, name)
    assert (found and found.groups()) == groups


def test_matches_is_any():
    assert matches(["x", "*.bias"], "a.bias") and not matches(["x", "*.bias"], "a.weight") and not matches([], "a")


@given(NAMES)
def test_a_name_matches_itself_and_two_stars(name):
    assert match(name, name) and match("**", name) and bool(match("*", name)) == ("." not in name)


@pytest.mark.parametrize(
    "pattern", ["{0..99999999999}", "a.{0..10000}.b", f"{{0..{'9' * 5000}}}", f"{{{'9' * 12}..1}}", "{5..99999}"]
)
def test_a_span_that_would_not_end_is_refused(pattern):
    with pytest.raises(
        ValueError, match="stands for more than 10,000 numbers: expected a span such as {0..11}$"
    ) as caught:
        match(pattern, "a.3.b")
    assert len(str(caught.value)) < 200


def test_spans_of_reasonable_length():
    assert match("{0..9999}", "9999") and not match("{0..9999}", "10000") and not match("{3..1}", "2")


@pytest.mark.parametrize("pattern", ["***", "*" * 40, "a****b", "*a" * 17])
def test_stars_that_would_take_for_ever_are_refused(pattern):
    with pytest.raises(ValueError, match="has stars that nothing divides, or more than 16"):
        match(pattern, "encoder.layer.11.attention.output.dense.weight" * 3)


@pytest.mark.parametrize("pattern", ["**.**.**.**.**.**.**.x", "**e**e**e**e**e**e**e**x", "*.*.*.*.*.*.*.x"])
def test_many_stars_come_to_an_end(pattern):
    """Matching that takes exponential time would not."""
    for i in range(20):
        assert not match(pattern, f"bert.encoder.layer.{i}.attention.output.dense.weight")
