"""Parts of datasets, datasets made of several, and splits that keep the classes' proportions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.data import ConcatDataset, DataCollatorWithPadding, DataLoader, Subset, random_split


def test_concat_dataset():
    joined = ConcatDataset(["ab", "", "cde", Subset("xyz", [2])])
    assert len(joined) == 6 and "".join(joined[i] for i in range(6)) == "abcdez"
    assert joined[-1] == "z" and joined[-6] == "a" and joined[np.int64(2)] == "c"
    for index in (6, -7):
        with pytest.raises(IndexError, match="there are 6 items"):
            joined[index]
    with pytest.raises(ValueError, match="expected at least one"):
        ConcatDataset([])


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4), seed=st.integers(0, 9), data=st.data())
def test_parts_are_disjoint_and_together_are_all(lengths, seed, data):
    size = sum(lengths)
    labels = data.draw(st.none() | st.lists(st.sampled_from("aab"), min_size=size, max_size=size))
    parts = random_split(range(size), lengths, seed, labels)
    assert [len(part) for part in parts] == lengths
    assert sorted(part[i] for part in parts for i in range(len(part))) == list(range(size))
    for part in parts:
        assert list(part.indices) == sorted(part.indices)
        for label in set(labels or ""):
            expected = labels.count(label) * len(part) / size
            assert abs(sum(labels[i] == label for i in part.indices) - expected) <= len(lengths)


def test_fractions_and_seeds():
    parts = random_split(range(10), [0.33, 0.33, 0.34])
    assert [len(part) for part in parts] == [4, 3, 3]
    assert [len(part) for part in random_split(range(10), [0.7, 0.3])] == [7, 3]
    again, other = random_split(range(10), [0.33, 0.33, 0.34]), random_split(range(10), [0.33, 0.33, 0.34], seed=1)
    assert [list(p.indices) for p in again] == [list(p.indices) for p in parts] != [list(p.indices) for p in other]
    assert len(random_split(range(1), [1])[0]) == 1


def test_a_stratified_split_has_every_class_in_proportion():
    labels = np.repeat(["a", "b", "c"], [700, 250, 50])
    train, test = random_split(range(1000), [0.8, 0.2], stratify=labels)
    assert np.unique(labels[test.indices], return_counts=True)[1].tolist() == [140, 50, 10]
    assert np.unique(labels[train.indices], return_counts=True)[1].tolist() == [560, 200, 40]


@pytest.mark.parametrize(
    ("lengths", "stratify", "text"),
    [
        ([5, 4], None, "add up to 9; expected 10, the number of items"),
        ([0.5, 0.4], None, "add up to 0.9"),
        ([12, -2], None, "expected numbers of items"),
        ([], None, "expected numbers of items"),
        ([5, 5], "abc", "3 labels for 10 items"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, stratify, text):
    with pytest.raises(ValueError, match=text):
        random_split(range(10), lengths, stratify=stratify)


def test_datasets_of_hugging_face_are_taken_as_they_are():
    theirs = pytest.importorskip("datasets")
    pyarrow = pytest.importorskip("pyarrow")
    columns = {"x": [[float(i), 1.0] for i in range(20)], "label": [i % 2 for i in range(20)]}
    data = theirs.Dataset(theirs.table.InMemoryTable(pyarrow.table(columns)), fingerprint="none")
    for one in (data, data.with_format("numpy")):
        loader = DataLoader(one, 4, shuffle=True, seed=0, collate=DataCollatorWithPadding(), num_workers=2)
        batches = list(loader)
        assert batches[0]["x"].dtype == np.float32 and batches[0]["labels"].dtype == np.int64
        assert sorted(x for batch in batches for x in batch["x"][:, 0]) == list(range(20))
    train, held_out = random_split(data, [0.8, 0.2], stratify=data["label"])
    assert len(held_out) == 4 and sum(held_out[i]["label"] for i in range(4)) == 2
    assert ConcatDataset([data, train])[25]["x"] == train[5]["x"]
    rows = [{"x": i} for i in range(9)]
    stream = theirs.IterableDataset(theirs.iterable_dataset.ExamplesIterable(lambda: enumerate(rows), {}))
    assert [item for batch in DataLoader(stream, 4) for item in batch] == rows
