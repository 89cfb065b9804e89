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
    (batch,) = DataLoader(dataset, 2, collate=DataCollatorWithPadding(pad_token_id=9))
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[5, 6, 7], [8, 9, 9]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
        "token_type_ids": [[0, 0, 1], [1, 0, 0]],
        "labels": [1, 0],
    }
    assert all(array.dtype == np.int64 for array in batch.values())


@given(st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1, max_size=9))
def test_padding_keeps_every_token_and_adds_no_more_than_needed(texts):
    batch = DataCollatorWithPadding()([{"input_ids": ids} for ids in texts])
    assert batch["input_ids"].shape == (len(texts), max(map(len, texts)))
    assert [row[mask == 1].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"])] == texts
    assert not batch["input_ids"][batch["attention_mask"] == 0].any()
    assert batch.keys() == {"input_ids", "attention_mask"}  # no model takes what was not given


def test_a_mask_the_tokenizer_gives_is_kept():
    batch = DataCollatorWithPadding()([{"input_ids": [4, 0], "attention_mask": [1, 0]}, {"input_ids": [1, 2, 3]}])
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]


def collated(items, **options):
    return {
        name: (array.tolist(), str(array.dtype)) for name, array in DataCollatorWithPadding(**options)(items).items()
    }


def texts(*labels):
    """Texts of one token, two tokens, ... with these labels."""
    return [{"input_ids": list(range(1, n + 1)), "label": label} for n, label in enumerate(labels, 1)]


@pytest.mark.parametrize(
    "labels, expected",
    [
        ([1, 0, 2], ([1, 0, 2], "int64")),
        ([True, False, True], ([1, 0, 1], "int64")),
        (np.array([3, 0, 2], np.uint8), ([3, 0, 2], "int64")),
        ([0.5, -2, 1.25], ([0.5, -2.0, 1.25], "float32")),
        (np.array([0.1, 0.2, 0.3]), (np.float32([0.1, 0.2, 0.3]).tolist(), "float32")),
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], "float32")),
        ([[1, 0], [0, 1], [1, 1]], ([[1, 0], [0, 1], [1, 1]], "int64")),
        ([[True, False], [False, True], [True, True]], ([[True, False], [False, True], [True, True]], "bool")),
        (list(np.eye(3)), (np.eye(3).tolist(), "float64")),
        ([[4], [-100, 5], [6, 7, 8]], ([[4, -100, -100], [-100, 5, -100], [6, 7, 8]], "int64")),
        ([[0.5], [1.0, 1.5], [2.0, 2.5, 3.0]], ([[0.5, -100, -100], [1.0, 1.5, -100], [2.0, 2.5, 3.0]], "float32")),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["label", "labels"])
def test_labels_keep_their_kind(labels, expected, name):
    items = [{"input_ids": item["input_ids"], name: item["label"]} for item in texts(*labels)]
    assert collated(items)["labels"] == expected
    assert collated(items)["attention_mask"][0] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_padding_on_the_left():
    items = [{**item, "token_type_ids": [1] * len(item["input_ids"])} for item in texts([4], [5, 6])]
    assert {name: rows for name, (rows, _) in collated(items, pad_token_id=9, padding_side="left").items()} == {
        "input_ids": [[9, 1], [1, 2]],
        "attention_mask": [[0, 1], [1, 1]],
        "token_type_ids": [[0, 1], [1, 1]],
        "labels": [[-100, 4], [5, 6]],
    }


def test_pictures_are_stacked():
    pictures = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    batch = DataCollatorWithPadding()([{"pixel_values": picture, "label": i} for i, picture in enumerate(pictures)])
    assert batch.keys() == {"pixel_values", "labels"} and batch["pixel_values"].dtype == np.float32
    np.testing.assert_array_equal(batch["pixel_values"], pictures)
    assert DataCollatorWithPadding()([{"x": np.zeros(3, np.uint8)}])["x"].dtype == np.uint8
    assert DataCollatorWithPadding()([{"x": [0.5, 1.0]}])["x"].dtype == np.float32


@pytest.mark.parametrize(
    "items, error, told",
    [
        ([([1, 2], 0)], TypeError, "item 0 is a tuple; expected a dict with the names of the model's arguments"),
        (
            [{"input_ids": [1], "label": 1}, {"input_ids": [1]}],
            ValueError,
            "item 1 of a batch has input_ids, attention_mask, item 0",
        ),
        (
            [{"input_ids": [1], "label": "spam"}],
            ValueError,
            "the label 'spam' is not a number; expected a class number.*label_ids",
        ),
        ([{"input_ids": [1], "label": None}], ValueError, "the label None is not a number"),
        (
            [{"input_ids": [1], "text": "one"}],
            ValueError,
            "'text' holds 'one', which is not an array of numbers: leave it out",
        ),
        (
            [{"x": np.zeros((3, 4))}, {"x": np.zeros((3, 5))}],
            ValueError,
            r"entries 'x' .* shapes \(3, 4\), \(3, 5\); expected one",
        ),
        (
            texts([1, 2], [1, 2, 3]),
            ValueError,
            r"entries 'label' of a batch have the shapes \(2,\), \(3,\); expected one",
        ),
    ],
)
def test_what_makes_no_batch_is_named(items, error, told):
    with pytest.raises(error, match=told):
        DataCollatorWithPadding()(items)


def test_without_a_padding_token_only_equal_lengths_make_a_batch():
    collate = DataCollatorWithPadding(None)
    assert collate([{"input_ids": [1, 2]}, {"input_ids": [3, 4]}])["input_ids"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(
        ValueError, match="must be padded, and there is no padding token: name one, as in AutoTokenizer"
    ):
        collate([{"input_ids": [1, 2]}, {"input_ids": [3]}])


def test_what_a_collator_refuses():
    with pytest.raises(
        TypeError, match=r"pad_token_id is a str; .* type DataCollatorWithPadding\(tokenizer.pad_token_id\)"
    ):
        DataCollatorWithPadding("[PAD]")
    with pytest.raises(ValueError, match='padding_side is \'both\'; expected "right" or "left"'):
        DataCollatorWithPadding(0, "both")


def test_labels_that_differ_only_by_case_are_named():
    for names in (["spam", "Spam"], ["très bon", "ham", "TRÈS  bon"]):
        with pytest.warns(UserWarning, match="differ only by case or white space, and count as two classes"):
            assert label_names([Example("", name) for name in names]) == sorted(names)


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "labels"])
def test_a_text_without_tokens_leaves_whole_numbers_whole(name):
    for rows in ([[], [1, 2]], [[1, 2], []], [[], []], [(), (3,)]):
        batch = DataCollatorWithPadding(0)([{"input_ids": list(row), name: row} for row in rows])
        assert {column.dtype for column in batch.values()} == {np.dtype(np.int64)}
        longest = max(map(len, rows))
        assert batch["attention_mask"].tolist() == [[1] * len(row) + [0] * (longest - len(row)) for row in rows]


def test_no_items_and_an_item_without_ids():
    with pytest.raises(ValueError, match="there are no items to make a batch of"):
        DataCollatorWithPadding(0)([])
    for items in ([{"input_ids": [1]}, {"x": [1]}], [{"x": [1]}, {"input_ids": [1]}]):
        with pytest.raises(ValueError, match="item 1 of a batch has .*, item 0 has .*; expected the same in each"):
            DataCollatorWithPadding(0)(items)
