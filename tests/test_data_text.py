"""Class numbers, the dataset of tokenised texts, and padding."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.data.loader import DataLoader
from minigrad.data.readers import Example
from minigrad.data.text import DataCollatorWithPadding, TextDataset, label_ids, label_names


def test_label_names_are_sorted_as_what_they_are():
    assert label_names([Example("", label) for label in ("b", "10", "a", "b")]) == ["10", "a", "b"]
    assert label_names([Example("", label) for label in ("10", "2", "0", "2")]) == ["0", "2", "10"]


def test_label_ids():
    examples = [Example("one", "b"), Example("two", "a")]
    ids = label_ids(examples, ["a", "b"])
    assert ids.tolist() == [1, 0] and ids.dtype == np.int64
    with pytest.raises(ValueError, match=r"label 'b' \(of 'one'\) is not among the 2 training labels a, c"):
        label_ids(examples, ["a", "c"])


def test_dataset():
    dataset = TextDataset({"input_ids": [[5, 6, 7], [8]], "token_type_ids": [[0, 0, 1], [0]]}, labels=[1, 0])
    assert len(dataset) == 2 and dataset.lengths == [3, 1]
    assert dataset[0] == {"input_ids": [5, 6, 7], "token_type_ids": [0, 0, 1], "label": 1}
    assert "label" not in TextDataset({"input_ids": [[5]]})[0]
    with pytest.raises(ValueError, match="columns of different sizes: {'input_ids': 1, 'label': 2}"):
        TextDataset({"input_ids": [[5]]}, labels=[1, 0])


def test_padding_by_hand():
    dataset = TextDataset({"input_ids": [[5, 6, 7], [8]], "token_type_ids": [[0, 0, 1], [1]]}, labels=[1, 0])
    batch, = DataLoader(dataset, 2, collate=DataCollatorWithPadding(pad_token_id=9))
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[5, 6, 7], [8, 9, 9]], "attention_mask": [[1, 1, 1], [1, 0, 0]],
        "token_type_ids": [[0, 0, 1], [1, 0, 0]], "labels": [1, 0]}
    assert all(array.dtype == np.int64 for array in batch.values())


@given(st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1, max_size=9))
def test_padding_keeps_every_token_and_adds_no_more_than_needed(texts):
    batch = DataCollatorWithPadding()([{"input_ids": ids} for ids in texts])
    assert batch["input_ids"].shape == (len(texts), max(map(len, texts)))
    assert [row[mask == 1].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"])] == texts
    assert not batch["input_ids"][batch["attention_mask"] == 0].any()
    assert batch.keys() == {"input_ids", "attention_mask"}                  # no model takes what was not given


def test_a_mask_the_tokenizer_gives_is_kept():
    batch = DataCollatorWithPadding()([{"input_ids": [4, 0], "attention_mask": [1, 0]}, {"input_ids": [1, 2, 3]}])
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
