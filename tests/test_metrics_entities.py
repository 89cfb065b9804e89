"""Entities and their scores by hand, and against seqeval."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import metrics

TAGS = ["O", *(f"{mark}-{kind}" for mark in "BIES" for kind in ("PER", "LOC"))]
texts = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8), min_size=1, max_size=4
)


@pytest.mark.parametrize(
    "tags, found",
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("I-PER I-PER I-LOC O", [("PER", 0, 1), ("LOC", 2, 2)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("S-PER B-PER E-PER O", [("PER", 0, 0), ("PER", 1, 2)]),
        ("B I O", [("_", 0, 1)]),
        ("O O", []),
    ],
)
def test_entities_by_hand(tags, found):
    assert metrics.entities_of(tags.split()) == found


@settings(max_examples=100)
@given(texts)
def test_against_seqeval(rows):
    reference = pytest.importorskip("seqeval.metrics")
    get_entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    true, pred = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    assert [metrics.entities_of(tags) for tags in true] == [get_entities(tags) for tags in true]
    found = metrics.entity_scores(true, pred)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["accuracy"] == pytest.approx(reference.accuracy_score(true, pred), abs=1e-12)
        for name in ("precision", "recall", "f1"):
            theirs = getattr(reference, f"{name}_score")(true, pred, zero_division=0)
            assert found[name] == pytest.approx(theirs, abs=1e-12), name
        for average in ("macro", "weighted"):
            if any(get_entities(tags) for tags in [*true, *pred]):
                theirs = reference.f1_score(true, pred, average=average, zero_division=0)
                assert found[f"{average}_f1"] == pytest.approx(theirs, abs=1e-12), average


def test_the_report_is_readable():
    true, pred = [["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "O"]]
    assert metrics.entity_report(true, pred).splitlines() == [
        "                  precision  recall     f1  support",
        "LOC                   0.000   0.000  0.000        1",
        "PER                   1.000   1.000  1.000        1",
        "micro average         1.000   0.500  0.667        2",
        "macro average         0.500   0.500  0.500        2",
        "weighted average      0.500   0.500  0.500        2",
    ]
    assert metrics.entity_report([["O"]], [["O"]]) == "There is no entity, true or predicted."


def test_texts_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="text 1 has 1 tags and 2 predicted ones; expected the same number"):
        metrics.entity_scores([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(ValueError, match="tags of 1 texts and predictions for 2"):
        metrics.entity_scores([["O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="there are no words to measure"):
        metrics.entity_scores([], [])


@pytest.mark.parametrize("tags", [["B-A"], [[0]], [["O", None]]])
@pytest.mark.parametrize("measure", ["entity_scores", "entity_report"])
def test_tags_are_lists_of_texts(measure, tags):
    with pytest.raises(ValueError, match="the tags of text 0 are .*; expected a list of tags"):
        getattr(metrics, measure)(tags, tags)


@pytest.mark.parametrize("tag", ["", "PER", "I_PER", "X-PER"])
def test_what_is_no_tag_is_refused(tag):
    with pytest.raises(ValueError, match=f"the tag is {tag!r}; expected O, or B-"):
        metrics.entity_scores([["O", tag]], [["O", "O"]])
