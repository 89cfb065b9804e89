"""Patterns match whole names, step by step."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.patterns import match, matches

NAMES = st.lists(st.text("abc_01", min_size=1), min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(("pattern", "name", "groups"), [
    ("a.weight", "a.weight", ()),
    ("a.weight", "b.a.weight", None),
    ("a.weight", "axweight", None),             # a dot is a dot
    ("*.weight", "a.weight", ("a",)),
    ("*.weight", "a.b.weight", None),
    ("**.weight", "a.b.weight", ("a.b",)),
    ("**.weight", "weight", None),              # one step at least
    ("*", "", None),
    ("conv*.weight", "conv10.weight", ("10",)),  # part of a step, which is not empty either, and ends where the step does
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
])
def test_match(pattern, name, groups):
    found = match(pattern, name)
    assert (found and found.groups()) == groups


def test_matches_is_any():
    assert matches(["x", "*.bias"], "a.bias") and not matches(["x", "*.bias"], "a.weight") and not matches([], "a")


@given(NAMES)
def test_a_name_matches_itself_and_two_stars(name):
    assert match(name, name) and match("**", name) and bool(match("*", name)) == ("." not in name)
