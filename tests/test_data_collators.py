"""Masked words, next tokens, corrupted spans: the laws of each."""

from pydoc_data.topics import topics

import numpy as np
import pytest

from minigrad.data import (
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorForT5MLM,
    DataLoader,
    MaskedDataset,
)
from minigrad.pretrained import train_tokenizer

pytest.importorskip("tokenizers")
TEXTS = [text[:400] for _, text in sorted(topics.items())[:40]]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return train_tokenizer(TEXTS, tmp_path_factory.mktemp("bert"), "wordpiece", 500)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    special = [f"<extra_id_{i}>" for i in range(20)]
    return train_tokenizer(TEXTS, tmp_path_factory.mktemp("t5"), "unigram", 500, special_tokens=special)


def items_of(tokenizer, texts=TEXTS, **options):
    columns = tokenizer(texts, padding=False, max_length=60, **options)
    return [{name: columns[name][i] for name in columns} for i in range(len(texts))]


def test_masked_words(bert):
    collate = DataCollatorForLanguageModeling(bert, seed=0)
    items = items_of(bert)
    batches = [collate(items) for _ in range(20)]
    ids = collate.pad(items)["input_ids"]
    for batch in batches:
        assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "labels"}
        chosen = batch["labels"] != -100
        np.testing.assert_array_equal(batch["labels"][chosen], ids[chosen])
        np.testing.assert_array_equal(batch["input_ids"][~chosen], ids[~chosen])
        assert not chosen[np.isin(ids, bert.all_special_ids)].any()
    chosen = np.stack([batch["labels"] != -100 for batch in batches])
    masked = np.stack([batch["input_ids"] == bert.mask_token_id for batch in batches])
    same = np.stack([batch["input_ids"] == ids for batch in batches])
    words = ~np.isin(ids, bert.all_special_ids)
    assert abs(chosen[:, words].mean() - 0.15) < 0.005
    assert abs(masked[chosen].mean() - 0.8) < 0.02 and abs(same[chosen].mean() - 0.1) < 0.02


def test_whole_words_are_masked_together(bert):
    items = items_of(bert, return_offsets_mapping=True)
    batch = DataCollatorForLanguageModeling(bert, whole_word_mask=True, mlm_probability=0.3, seed=1)(items)
    parted = 0
    for item, labels in zip(items, batch["labels"], strict=True):
        tokens = bert.convert_ids_to_tokens(item["input_ids"])
        for i in range(1, len(tokens)):
            if tokens[i].startswith("##"):
                assert (labels[i] == -100) == (labels[i - 1] == -100)
                parted += 1
    assert parted > 50 and 0.2 < (batch["labels"] != -100).sum() / batch["attention_mask"].sum() < 0.5


def test_causal_labels_are_the_ids(bert):
    batch = DataCollatorForLanguageModeling(bert, mlm=False)(items_of(bert, ["a list", "a much longer list of things"]))
    np.testing.assert_array_equal(batch["labels"], np.where(batch["attention_mask"], batch["input_ids"], -100))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_masked_dataset_is_masked_anew_in_each_epoch(bert, workers):
    data = MaskedDataset(items_of(bert), DataCollatorForLanguageModeling(bert), seed=3)
    loader = DataLoader(data, 8, num_workers=workers)
    first, second = ([item["labels"].tolist() for batch in loader for item in batch] for _ in range(2))
    assert first != second and first == [data[i]["labels"].tolist() for i in range(len(data))]
    assert second[7] == data.at_epoch(1)[7]["labels"].tolist() and len(data) == 40


@pytest.mark.parametrize("whole", [False, True])
def test_every_item_of_a_masked_dataset_has_a_loss(bert, whole):
    """However short, and however improbable: a text without a masked token would have no label to learn from."""
    items = items_of(bert, ["a", "in a list", "unbelievable things"] * 20, return_offsets_mapping=True)
    collator = DataCollatorForLanguageModeling(bert, whole_word_mask=whole, mlm_probability=1e-6)
    for epoch in range(2):
        data = MaskedDataset(items, collator).at_epoch(epoch)
        for i, item in enumerate(items):
            ids, labels = np.array(item["input_ids"]), data[i]["labels"]
            chosen = labels != -100
            assert chosen.any() and not (chosen & np.isin(ids, bert.all_special_ids)).any()
            assert (labels[chosen] == ids[chosen]).all() and (whole or chosen.sum() == 1)
    none = DataCollatorForLanguageModeling(bert, mlm_probability=0.0)
    assert (MaskedDataset(items, none)[0]["labels"] == -100).all()


def test_target_texts(t5):
    items = [
        {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1], "labels": [8, 1]},
        {"input_ids": [5, 6], "attention_mask": [1, 1], "labels": [9, 9, 9, 1]},
    ]
    batch = DataCollatorForSeq2Seq(t5)(items)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [5, 6, t5.pad_token_id]]
    assert batch["labels"].tolist() == [[8, 1, -100, -100], [9, 9, 9, 1]] and batch["labels"].dtype == np.int64
    with pytest.raises(ValueError, match="expected each to have labels"):
        DataCollatorForSeq2Seq(t5)([{"input_ids": [1]}])


def test_corrupted_spans_put_back_are_the_text(t5):
    collate = DataCollatorForT5MLM(t5, seed=0)
    items, gone, spans = items_of(t5), 0, 0
    batch = collate(items)
    for item, source, mask, target in zip(items, *(batch[n] for n in ("input_ids", "attention_mask", "labels"))):
        source, target = source[mask == 1].tolist(), target[target != -100].tolist()
        assert source[-1] == target[-1] == t5.eos_token_id
        parts, here = {}, None
        for i in target[:-1]:
            if i in collate.sentinels:
                here = parts.setdefault(i, [])
            else:
                here.append(i)
        assert list(parts) == collate.sentinels[: len(parts)]
        whole = [i for one in source[:-1] for i in (parts[one] if one in parts else [one])]
        assert whole == [i for i in item["input_ids"] if i not in collate.special]
        gone, spans = gone + sum(map(len, parts.values())), spans + len(parts)
    assert abs(gone / sum(len(item["input_ids"]) - 1 for item in items) - 0.15) < 0.02 and 2.5 < gone / spans < 3.6


def test_what_makes_no_sense_is_refused(bert, t5):
    with pytest.raises(ValueError, match="has no mask token"):
        DataCollatorForLanguageModeling(t5)
    with pytest.raises(ValueError, match="mlm_probability is 2"):
        DataCollatorForLanguageModeling(bert, mlm_probability=2)
    with pytest.raises(ValueError, match="mask_replace_prob is 'a'; expected a probability"):
        DataCollatorForLanguageModeling(bert, mask_replace_prob="a")
    with pytest.raises(ValueError, match="mean_noise_span_length is None; expected at least 1 token"):
        DataCollatorForT5MLM(t5, mean_noise_span_length=None)
    with pytest.raises(ValueError, match="random_replace_prob is 0.5; expected 0 to 0.2"):
        DataCollatorForLanguageModeling(bert, random_replace_prob=0.5)
    with pytest.raises(ValueError, match="whole_word_mask=True is for mlm=True"):
        DataCollatorForLanguageModeling(bert, mlm=False, whole_word_mask=True)
    with pytest.raises(ValueError, match="needs the items' offset_mapping"):
        DataCollatorForLanguageModeling(bert, whole_word_mask=True)(items_of(bert))
    with pytest.raises(ValueError, match="no <extra_id_0>"):
        DataCollatorForT5MLM(bert)
    with pytest.raises(ValueError, match="noise_density is 0"):
        DataCollatorForT5MLM(t5, noise_density=0)
    with pytest.raises(ValueError, match="a text has 1 tokens"):
        DataCollatorForT5MLM(t5)([{"input_ids": [99]}])
