"""What a tokenizer of ours learnt, and what a collator masks, as transformers has it: the same ids, the same draws."""

import warnings
from pydoc_data.topics import topics

import numpy as np
import pytest

from minigrad.data import DataCollatorForLanguageModeling
from minigrad.pretrained import train_tokenizer

transformers = pytest.importorskip("transformers")
pytest.importorskip("tokenizers")
TEXTS = [text[:400] for _, text in sorted(topics.items())[:40]]
SENTENCE = "An assignment statement evaluates the expression list."


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return train_tokenizer(TEXTS, tmp_path_factory.mktemp("bert"), "wordpiece", 500)


def items_of(tokenizer, texts, **options):
    columns = tokenizer(texts, padding=False, max_length=60, **options)
    return [{name: columns[name][i] for name in columns} for i in range(len(texts))]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "word", "char"])
def test_a_tokenizer_is_read_by_transformers(tmp_path, kind):
    ours = train_tokenizer(TEXTS[:10], tmp_path, kind, 300)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(SENTENCE)["input_ids"] == ours(SENTENCE)["input_ids"][0].tolist()
    assert theirs.pad_token_id == ours.pad_token_id


@pytest.mark.parametrize("whole", [False, True])
def test_transformers_draws_the_same(bert, whole):
    theirs = transformers.AutoTokenizer.from_pretrained(bert.directory)
    items = items_of(
        bert, [text for text in TEXTS if len(bert(text)["input_ids"][0]) >= 60], return_offsets_mapping=True
    )
    if not whole:
        items = [{name: item[name] for name in item if name != "offset_mapping"} for item in items]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that whole words are never replaced by random tokens
        reference = transformers.DataCollatorForLanguageModeling(
            theirs, whole_word_mask=whole, seed=5, return_tensors="np"
        )
    ours = DataCollatorForLanguageModeling(bert, whole_word_mask=whole, seed=5)
    for _ in range(3):
        mine, expected = ours(items), reference([dict(item) for item in items])
        for name in ("input_ids", "labels"):
            np.testing.assert_array_equal(mine[name], expected[name])
    assert (mine["labels"] != -100).any()
