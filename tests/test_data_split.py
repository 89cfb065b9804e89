"""The laws of the split: nothing lost, no text on both sides, every label in training, the fraction kept, the seed
obeyed.
"""

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigrad.data.blocks import split_spans
from minigrad.data.readers import Example
from minigrad.data.split import fold, split, split_by_key

examples = st.lists(st.builds(Example, st.text("aB \n", max_size=4), st.sampled_from("xyz")), max_size=40)


@given(examples, st.floats(0.05, 0.95), st.integers(0, 3))
def test_laws(examples, fraction, seed):
    try:
        train, held_out = split(examples, fraction, seed)
    except ValueError:
        assume(False)
    assert Counter(train) + Counter(held_out) == Counter(examples)
    assert not {fold(e.text) for e in train} & {fold(e.text) for e in held_out}
    assert {e.label for e in held_out} <= {e.label for e in train}
    assert split(examples, fraction, seed) == (train, held_out)
    for label, count in Counter(e.label for e in held_out).items():
        assert count <= max(1, round(fraction * sum(e.label == label for e in examples)))


def test_the_fraction_is_kept_for_each_label_and_the_order_too():
    examples = [Example(f"text {i}", label) for i, label in enumerate("a" * 100 + "b" * 10 + "c" * 2)]
    train, held_out = split(examples, 0.2, seed=1)
    assert Counter(e.label for e in held_out) == {"a": 20, "b": 2, "c": 1}
    assert train == sorted(train, key=examples.index) and held_out == sorted(held_out, key=examples.index)
    assert split(examples, 0.2, seed=2)[1] != held_out


def test_copies_stay_together_and_contradictions_in_training():
    copies = [Example("Same  text", "a"), Example("same text\n", "a"), Example("both", "a"), Example("BOTH", "b")]
    others = [Example(str(i), "ab"[i % 2]) for i in range(8)]
    for seed in range(20):
        train, held_out = split(copies + others, 0.5, seed)
        assert set(copies[2:]) <= set(train)
        assert len({c in train for c in copies[:2]}) == 1


def test_what_cannot_be_split_is_refused():
    with pytest.raises(ValueError, match="eval_fraction is 20; expected a number between 0 and 1"):
        split([Example("a", "x"), Example("b", "x")], 20)
    with pytest.raises(ValueError, match="none of 3 examples can be held out: each label needs two different texts"):
        split([Example("a", "x"), Example("A", "x"), Example("b", "y")])


@pytest.mark.parametrize("fraction", ["0.2", None, True, 0, 1, 2, float("nan")])
def test_a_part_to_hold_out_that_is_none(fraction, tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    told = "eval_fraction is .*; expected a number between 0 and 1"
    with pytest.raises(ValueError, match=told):
        split_by_key(["a", "b"], fraction, 0, str)
    with pytest.raises(ValueError, match=told):
        split_spans([tmp_path / "a.txt"], fraction)


def test_texts_that_differ_only_by_unicodes_form_are_the_same():
    """On a Mac the accents of names are characters of their own."""
    assert fold("Cafe\u0301  Mu\u0308ller") == fold("café müller") != fold("cafe muller")
