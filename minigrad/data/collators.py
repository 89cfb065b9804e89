"""Batches for language models: masked tokens, next tokens, corrupted spans, and texts with target texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import is_number
from .datasets import Dataset, at_epoch
from .text import IGNORED, DataCollatorWithPadding


class DataCollatorForLanguageModeling:
    """Batches of token ids with the labels of a masked language model (BERT), or with `mlm=False` of a causal one.

    The labels of a causal model are the ids themselves, with -100 for padding; the model shifts them.  For a masked
    model, each token is chosen with probability `mlm_probability`; the labels of the others are -100.  A chosen token
    becomes the mask token with probability `mask_replace_prob`, a random token with `random_replace_prob`, and stays
    otherwise (Devlin et al., 2019, section 3.1).  Special tokens are never chosen.  With `whole_word_mask` all tokens
    of a word, which the gaps in their `offset_mapping` separate from the next, are chosen together and become the
    mask token.  With the same seed, the same tokens are masked as by transformers with return_tensors="np".

    Items are dicts with `input_ids` and whatever else a tokenizer returns, such as `special_tokens_mask` and
    `offset_mapping`.  A batch holds int64 arrays (texts, tokens).

    The masks of a Trainer's evaluation come from the same generator, so its loss varies from one evaluation to the
    next; a `MaskedDataset` masks the same tokens every time.

    Raises:
        ValueError: the tokenizer has no mask token, a probability is not between 0 and 1, `whole_word_mask` is used
            without `mlm`, or the items have no `offset_mapping` for it.
    """

    def __init__(
        self,
        tokenizer: Any,
        mlm: bool = True,
        whole_word_mask: bool = False,
        mlm_probability: float = 0.15,
        mask_replace_prob: float = 0.8,
        random_replace_prob: float = 0.1,
        seed: int | None = None,
    ):
        if mlm and tokenizer.mask_token_id is None:
            raise ValueError(
                "the tokenizer has no mask token, which a masked language model needs: pass mlm=False for a causal "
                "one, or name it, as in AutoTokenizer.from_pretrained(..., mask_token='[MASK]')"
            )
        if whole_word_mask and not mlm:
            raise ValueError("whole_word_mask=True is for mlm=True: leave one of them out")
        for name, p in (("mlm_probability", mlm_probability), ("mask_replace_prob", mask_replace_prob)):
            if not (is_number(p) and 0 <= p <= 1):
                raise ValueError(f"{name} is {p!r}; expected a probability, 0 to 1")
        if not (is_number(random_replace_prob) and 0 <= random_replace_prob <= 1 - mask_replace_prob + 1e-12):
            raise ValueError(
                f"random_replace_prob is {random_replace_prob!r}; expected 0 to {1 - mask_replace_prob:g}, what "
                "mask_replace_prob leaves"
            )
        self.tokenizer, self.mlm, self.whole_word_mask = tokenizer, mlm, whole_word_mask
        self.mlm_probability = mlm_probability
        self.mask_replace_prob = 1.0 if whole_word_mask else mask_replace_prob
        self.random_replace_prob = 0.0 if whole_word_mask else random_replace_prob
        self.rng = np.random.default_rng(seed)
        self.pad = DataCollatorWithPadding(
            tokenizer.pad_token_id, getattr(tokenizer, "settings", {}).get("padding_side", "right")
        )

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        items = [{name: item[name] for name in item if name not in ("label", "labels")} for item in items]
        batch = self.pad(items)
        special, offsets = (batch.pop(name, None) for name in ("special_tokens_mask", "offset_mapping"))
        ids, filled = batch["input_ids"], batch["attention_mask"] == 0
        if self.mlm:
            special = self.special(ids) if special is None else special.astype(bool)
            batch["input_ids"], batch["labels"] = self.mask(ids, special | filled, self.rng, offsets)
        else:
            batch["labels"] = np.where(filled, IGNORED, ids)
        return batch

    def special(self, ids: np.ndarray) -> np.ndarray:
        """Which ids are those of special tokens, as booleans."""
        return np.isin(ids, self.tokenizer.all_special_ids)

    def mask(
        self,
        ids: np.ndarray,
        special: np.ndarray,
        rng: np.random.Generator,
        offsets: np.ndarray | None = None,
        at_least_one: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids (texts, tokens) with some of them masked, and the labels, -100 for those that are not.

        With `at_least_one`, one token or word of a text is masked even if none was chosen.
        """
        p = np.full(ids.shape, self.mlm_probability)
        words = None
        if self.whole_word_mask:
            if offsets is None:
                raise ValueError(
                    "whole_word_mask=True needs the items' offset_mapping: type "
                    "tokenizer(texts, return_offsets_mapping=True)"
                )
            words, begins = _words(offsets, special)
            p[~begins] = 0
        p[special] = 0
        chosen = rng.binomial(1, p).astype(bool)
        if at_least_one and not chosen.any() and p.any():
            chosen.flat[rng.choice(np.flatnonzero(p))] = True
        if words is not None:
            same = (words[:, :, None] == words[:, None, :]) & (words >= 0)[:, None, :]
            chosen = (same & chosen[:, None, :]).any(-1) & (words >= 0)
        labels, ids = np.where(chosen, ids, IGNORED), ids.copy()
        masked = rng.binomial(1, self.mask_replace_prob, ids.shape).astype(bool) & chosen
        ids[masked] = self.tokenizer.mask_token_id
        if self.mask_replace_prob < 1 and self.random_replace_prob:
            share = min(1.0, self.random_replace_prob / (1 - self.mask_replace_prob))
            random = rng.binomial(1, share, ids.shape).astype(bool) & chosen & ~masked
            ids[random] = rng.integers(0, len(self.tokenizer), np.count_nonzero(random))
        return ids, labels


def _words(offsets: np.ndarray, special: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each token's word, -1 for special tokens, and whether a word begins there: (texts, tokens) both.

    A word begins after a gap in the offsets (texts, tokens, 2) or after a special token.
    """
    before = np.roll(offsets[:, :, 1], 1, axis=1)
    before[:, 0] = -1
    after_special = np.roll(special, 1, axis=1)
    after_special[:, 0] = False
    begins = ~special & ((offsets[:, :, 0] != before) | after_special)
    return np.where(special, -1, np.cumsum(begins, axis=1)), begins


class MaskedDataset:
    """A dataset of texts that a `DataCollatorForLanguageModeling` masks, differently in each epoch.

    The masked tokens are a function of seed, epoch and index, so an evaluation, which is always of epoch 0, masks the
    same tokens every time.  At least one token of each item is masked, since an item without one has no loss.

    Items are dicts with `input_ids`; they gain `labels` and lose `special_tokens_mask` and `offset_mapping`.
    """

    def __init__(self, dataset: Dataset, collator: DataCollatorForLanguageModeling, seed: int = 0, epoch: int = 0):
        self.dataset, self.collator, self.seed, self.epoch = dataset, collator, seed, epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def at_epoch(self, epoch: int) -> MaskedDataset:
        """The dataset with the masks of that epoch."""
        return MaskedDataset(at_epoch(self.dataset, epoch), self.collator, self.seed, epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = dict(self.dataset[index])
        special, offsets = (item.pop(name, None) for name in ("special_tokens_mask", "offset_mapping"))
        ids = np.asarray(item["input_ids"])[None]
        special = self.collator.special(ids) if special is None else np.asarray(special, bool)[None]
        rng = np.random.default_rng([self.seed, self.epoch, int(index)])
        offsets = None if offsets is None else np.asarray(offsets)[None]
        ids, labels = self.collator.mask(ids, special, rng, offsets, at_least_one=True)
        return {**item, "input_ids": ids[0], "labels": labels[0]}


class DataCollatorForSeq2Seq:
    """Batches of texts and target texts: the ids are padded as by `DataCollatorWithPadding`, `labels` with -100.

    Texts and targets are padded to their own longest length; the model shifts the labels to get its decoder's input.

    Raises:
        ValueError: an item has no `labels`.
    """

    def __init__(self, tokenizer: Any, label_pad_token_id: int = IGNORED):
        self.label_pad_token_id = label_pad_token_id
        self.pad = DataCollatorWithPadding(
            tokenizer.pad_token_id, getattr(tokenizer, "settings", {}).get("padding_side", "right")
        )

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        if not all("labels" in item for item in items):
            raise ValueError(f"the items have {', '.join(items[0])}; expected each to have labels, the target's ids")
        batch = self.pad([{name: item[name] for name in item if name != "labels"} for item in items])
        batch["labels"] = filled([item["labels"] for item in items], self.label_pad_token_id)
        return batch


class DataCollatorForT5MLM:
    """Batches for T5's pretraining: each of several spans of a text is replaced by a sentinel, and is to be predicted.

    About `noise_density` of the tokens are dropped, in spans of `mean_noise_span_length` tokens on average.  Sentinels
    <extra_id_0>, <extra_id_1> and so on take their places; the target consists of each sentinel followed by the tokens
    of its span, then the end token (Raffel et al., 2020, section 3.1.4).

    Items are dicts with `input_ids`, from which special tokens are removed.

    Raises:
        ValueError: the tokenizer has no <extra_id_0> or no end token, an argument is out of range, or a text has fewer
            than two tokens or more spans than there are sentinels.
    """

    def __init__(
        self, tokenizer: Any, noise_density: float = 0.15, mean_noise_span_length: float = 3.0, seed: int | None = None
    ):
        if not (is_number(noise_density) and 0 < noise_density < 1):
            raise ValueError(f"noise_density is {noise_density!r}; expected a fraction between 0 and 1")
        if not (is_number(mean_noise_span_length) and mean_noise_span_length >= 1):
            raise ValueError(f"mean_noise_span_length is {mean_noise_span_length!r}; expected at least 1 token")
        self.sentinels: list[int] = []
        while (found := tokenizer.convert_tokens_to_ids(f"<extra_id_{len(self.sentinels)}>")) is not None:
            if found == tokenizer.unk_token_id:
                break
            self.sentinels.append(found)
        if not self.sentinels or tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no <extra_id_0> or no end token; expected the tokenizer of a T5")
        self.special = set(tokenizer.all_special_ids) | set(self.sentinels)
        self.noise_density, self.mean_noise_span_length = noise_density, mean_noise_span_length
        self.end, self.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
        self.rng = np.random.default_rng(seed)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        pairs = [self.corrupt([i for i in map(int, item["input_ids"]) if i not in self.special]) for item in items]
        ids = [ids for ids, _ in pairs]
        return {
            "input_ids": filled(ids, self.pad_token_id),
            "attention_mask": filled([[1] * len(row) for row in ids], 0),
            "labels": filled([labels for _, labels in pairs], IGNORED),
        }

    def corrupt(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """The ids with a sentinel in place of each dropped span, and the ids of the target."""
        if len(ids) < 2:
            raise ValueError(f"a text has {len(ids)} tokens; expected at least 2, one to drop and one to keep")
        noise = min(max(round(len(ids) * self.noise_density), 1), len(ids) - 1)
        spans = min(max(round(noise / self.mean_noise_span_length), 1), noise, len(ids) - noise)
        if spans > len(self.sentinels):
            raise ValueError(
                f"a text of {len(ids)} tokens loses {spans} spans, but there are {len(self.sentinels)} sentinels: "
                "truncate it, or raise mean_noise_span_length"
            )
        source, target, at = [], [], 0
        for sentinel, stay, go in zip(self.sentinels, self.parts(len(ids) - noise, spans), self.parts(noise, spans)):
            source += [*ids[at : at + stay], sentinel]
            target += [sentinel, *ids[at + stay : at + stay + go]]
            at += stay + go
        return [*source, self.end], [*target, self.end]

    def parts(self, total: int, number: int) -> np.ndarray:
        """Draw `number` lengths of at least 1 that add up to `total`, uniformly among all such lists."""
        cuts = np.sort(self.rng.choice(total - 1, number - 1, replace=False)) + 1 if number > 1 else []
        return np.diff([0, *cuts, total])


def filled(rows: Sequence[Sequence[int]], fill: int) -> np.ndarray:
    """Rows of ids as int64 (rows, longest), padded with `fill` on the right."""
    out = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out
