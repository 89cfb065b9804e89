"""Language models learnt from plain text: of the next token (GPT-2, LLaMA), or of masked tokens (BERT)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from .. import losses, metrics
from ..data import DataCollatorForLanguageModeling, MaskedDataset, TextBlocks, TextDataset, read_examples, read_pieces
from ..data.blocks import TextSpan, pack, split_spans
from ..data.readers import check_utf8, read_lines
from ..data.text import IGNORED
from ..pretrained import AutoModelForCausalLM, AutoModelForMaskedLM, PretrainedModel
from ..pretrained.text.streaming import TextStreamer
from ..tensor import Tensor
from .base import check_top_k
from .texts import MAX_LENGTH, TextTask, texts_of

MARKS = ("##", "Ġ", "▁")  # begin a token that continues a word (##), or one that begins a word (Ġ, ▁)
TABLES = (".csv", ".tsv", ".json", ".jsonl")
ENDINGS = (".txt", ".md", ".rst", ".text")  # of the text files in a directory

MAX_BLOCK = 1024  # tokens of a block, if neither the user nor the training chose a length

Text = str | TextSpan


@dataclass
class LanguageModeling(TextTask):
    """What both kinds share: texts, which may be larger than memory, become blocks of `max_length` tokens.

    Each text file of a directory is a text, and so is each row of a .csv, .tsv, .jsonl or .json file with a text
    column.  Without a file for evaluation, the last part of each text file or some of the rows are held out.  The
    tokens are kept in a temporary file.

    Options:
        text_column: the name of the column, if not "text" or "sentence".
    """

    text_column: str | None = None

    defaults: ClassVar[dict[str, Any]] = {
        "group_by_length": False,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
    }

    # Files to examples.

    def read(self, source: Any, labelled: bool = True) -> Sequence[Any]:
        """Also of a list of paths."""
        if isinstance(source, (list, tuple)) and source and isinstance(source[0], os.PathLike):
            return [example for path in source for example in self.read_file(Path(path), labelled)]
        return super().read(source, labelled)

    def read_file(self, path: Path, labelled: bool) -> list[Any]:
        if path.suffix.lower() in TABLES:
            return [example.text for example in read_examples(path, self.text_column, labelled=False)]
        if not labelled:
            return self.examples(read_lines(path))
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
            if not files:
                raise FileNotFoundError(f"{path}: no text file in it; expected one that ends in {', '.join(ENDINGS)}")
            return [TextSpan(file) for file in files]
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; expected a text file, or a directory of them")
        return [TextSpan(path)]

    def read_item(self, where: str, item: Any) -> str:
        if not isinstance(item, str) or not item.strip():
            raise ValueError(f"{where} is {str(item)[:60]!r}; expected a text")
        return check_utf8(where, item)

    def examples(self, inputs: Any, **options: Any) -> list[str]:
        return [self.read_item(f"text {i}", text) for i, text in enumerate(texts_of(inputs), 1)]

    def key(self, example: Text) -> str:
        return example if isinstance(example, str) else str(example)

    def split(self, examples: Sequence[Text], eval_fraction: float, seed: int) -> tuple[Sequence[Text], Sequence[Text]]:
        spans = [example.path for example in examples if isinstance(example, TextSpan)]
        rows = [example for example in examples if isinstance(example, str)]
        if not spans:
            return super().split(rows, eval_fraction, seed)
        train, held_out = split_spans(spans, eval_fraction)
        if not any(path.stat().st_size for path in spans):
            raise ValueError(f"{spans[0]} is empty: expected text")
        if not held_out:
            raise ValueError(
                f"{spans[0]} has no line break after which the last {eval_fraction:.0%} could be held out; give a file "
                "for evaluation"
            )
        more = super().split(rows, eval_fraction, seed) if rows else ([], [])
        return [*train, *more[0]], [*held_out, *more[1]]

    # Examples to a dataset.

    def study(self, train: Sequence[Text], eval: Sequence[Text], config: Any) -> dict[str, Any]:
        self.warn_of_overlap(train, eval)
        return {}

    def attach(self, model: PretrainedModel, processor: Any) -> None:
        chosen = self.max_length is not None or model.config.rest.get(MAX_LENGTH) is not None
        super().attach(model, processor)
        if not chosen:
            self.max_length = model.config.rest[MAX_LENGTH] = min(self.max_length or MAX_BLOCK, MAX_BLOCK)

    def describe(self, train: Sequence[Text], eval: Sequence[Text]) -> str:
        begin = " ".join(next(filter(str.strip, pieces_of(train[0])), "").split())[:90]
        return f"{len(train)} training texts, {len(eval)} evaluation texts, the first of which begins: {begin}..."

    def packed(self, examples: Sequence[Text], **options: Any) -> TextBlocks:
        """The texts as blocks in a temporary file, which is deleted when the blocks are no longer referenced."""
        directory = tempfile.TemporaryDirectory(prefix="minigrad-")
        path = Path(directory.name, "ids.npy")
        named = ", ".join(str(one.path) if isinstance(one, TextSpan) else repr(one[:30]) for one in examples[:3])
        counts = pack(map(pieces_of, examples), self.processor, path, named)
        length = MAX_BLOCK if self.max_length is None else self.max_length
        blocks: Any = TextBlocks(path, length, **options)
        blocks.directory, blocks.bytes = directory, counts["bytes"]
        return blocks

    def note(self, dataset: Any) -> str:
        blocks = getattr(dataset, "dataset", dataset)
        return f"{blocks.tokens:,} tokens in {len(blocks):,} blocks of {blocks.block_size}"

    # Outputs to scores.

    @property
    def columns(self) -> dict[str, str]:
        return {"train_loss": "train loss", "eval_loss": "eval loss", "eval_perplexity": "perplexity"}

    def aligned(self, logits: Tensor, labels: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """The logits (B, T, vocabulary), and the label of each (B, T)."""
        return logits, labels

    def outputs(self, model: PretrainedModel, batch: Mapping[str, Any], out: Any = None, **options: Any) -> Tensor:
        """For each block, (B, 3): the summed loss of its labels, their number, and how many were predicted right."""
        if "labels" not in batch:
            return self.predicted(model, batch, **options)
        logits, labels = self.aligned((model(**batch) if out is None else out).logits, np.asarray(batch["labels"]))
        flat = logits.reshape(-1, logits.shape[-1])
        each = losses.cross_entropy(flat, labels.reshape(-1), reduction="none").numpy().reshape(labels.shape)
        right = flat.argmax(-1).numpy().reshape(labels.shape) == labels
        counts = (labels != IGNORED).sum(-1)
        return Tensor(np.stack([each.sum(-1, dtype=np.float64), counts, right.sum(-1)], -1))

    def predicted(self, model: PretrainedModel, batch: Mapping[str, Any], **options: Any) -> Tensor:
        """The outputs for texts without labels, from which `answers` are made."""
        raise NotImplementedError

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        total, count, right = outputs.sum(0)
        return {"perplexity": metrics.perplexity(total / count), "accuracy": float(right / count)}


@dataclass
class CausalLanguageModeling(LanguageModeling):
    """A causal language model: it learns to predict each next token, and continues a text."""

    name = "text-generation"
    model_class = AutoModelForCausalLM
    answer_options: ClassVar[dict[str, Any]] = dict.fromkeys(("max_new_tokens", "do_sample", "temperature", "seed"))

    @property
    def columns(self) -> dict[str, str]:
        return {**super().columns, "eval_bits_per_byte": "bits per byte"}

    def encode(self, examples: Sequence[Text], labelled: bool = True) -> Any:
        if labelled:
            return self.packed(examples, labels=True)
        return TextDataset(self.processor(list(examples), padding=False, truncation=False))

    def aligned(self, logits: Tensor, labels: np.ndarray) -> tuple[Tensor, np.ndarray]:
        return logits[:, :-1], labels[:, 1:]

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        found, (total, count, _) = super().scores(outputs, labels, dataset), outputs.sum(0)
        return {**found, "bits_per_byte": metrics.bits_per_byte(total / count, dataset.tokens, dataset.bytes)}

    def predicted(
        self,
        model: PretrainedModel,
        batch: Mapping[str, Any],
        max_new_tokens: int = 50,
        return_full_text: bool = True,
        seed: int | None = None,
        **options: Any,
    ) -> Tensor:
        ids = batch["input_ids"]
        options = {"max_new_tokens": max_new_tokens, **self.stop_tokens(model), **options}
        made: Any = model.generate(  # type: ignore[operator]
            ids, batch["attention_mask"], rng=seed, tokenizer=self.processor, **options
        )
        return Tensor(made[:, ids.shape[1] :])

    def answers(
        self, outputs: np.ndarray, dataset: Any, return_full_text: bool = True, **options: Any
    ) -> list[list[dict[str, Any]]]:
        """[{"generated_text": the text with its continuation, or the continuation alone}] for each text."""
        found = []
        for prompt, row in zip(dataset.columns["input_ids"], outputs.astype(np.int64), strict=True):
            given = self.processor.decode(prompt, skip_special_tokens=True)
            text = self.processor.decode([*prompt, *row[row >= 0].tolist()], skip_special_tokens=True)
            found.append([{"generated_text": text if return_full_text else text[len(given) :]}])
        return found

    def record(self, example: str, answer: list[dict[str, Any]]) -> dict[str, Any]:
        return {"text": example, **answer[0]}

    def format_answer(self, example: str, answer: list[dict[str, Any]]) -> str:
        return answer[0]["generated_text"]

    def streamer(self, example: str, write: Callable[[str], Any]) -> TextStreamer:
        prompt = self.encode([example], labelled=False).columns["input_ids"][0]
        return TextStreamer(self.processor, write, prompt)


@dataclass
class MaskedLanguageModeling(LanguageModeling):
    """A masked language model: it learns to predict masked tokens from those around them, and fills gaps in a text.

    Options:
        mlm_probability: the share of the tokens that are masked; training masks other tokens in each epoch,
            evaluation always the same.
        whole_word_mask: mask all tokens of a word together.  The vocabulary must mark tokens that continue a word
            with ## (BERT), or tokens that begin a word with Ġ or ▁ (RoBERTa).
    """

    mlm_probability: float = 0.15
    whole_word_mask: bool = False

    name = "fill-mask"
    model_class = AutoModelForMaskedLM
    answer_options: ClassVar[dict[str, Any]] = {"top_k": 3}
    sample_input = '"a sentence with a [MASK]"'

    @property
    def columns(self) -> dict[str, str]:
        return {**super().columns, "eval_accuracy": "accuracy"}

    def __post_init__(self):
        if not 0 < self.mlm_probability <= 1:
            raise ValueError(
                f"mlm_probability is {self.mlm_probability}; expected more than 0, at most 1, such as 0.15"
            )

    def sample(self) -> str:
        return f"This is a {self.processor.mask_token}."

    def collate(self) -> DataCollatorForLanguageModeling:
        """The collator that masks tokens."""
        return DataCollatorForLanguageModeling(
            self.processor, whole_word_mask=self.whole_word_mask, mlm_probability=self.mlm_probability
        )

    def encode(self, examples: Sequence[Text], labelled: bool = True) -> Any:
        if labelled:
            before, after = self.special_tokens()
            blocks = self.packed(examples, before=before, after=after)
            masked: Any = MaskedDataset(
                WordBlocks(blocks, self.processor) if self.whole_word_mask else blocks, self.collate()
            )
            return masked
        for i, text in enumerate(examples, 1):
            if self.processor.mask_token not in text:
                raise ValueError(
                    f"text {i} has no {self.processor.mask_token}: expected one in place of the missing word, such as "
                    f"'A fine {self.processor.mask_token}.'"
                )
        dataset = TextDataset(self.processor(list(examples), padding=False, max_length=self.max_length))
        for i, ids in enumerate(dataset.columns["input_ids"], 1):
            if self.processor.mask_token_id not in ids:
                raise ValueError(
                    f"the {self.processor.mask_token} of text {i} is not among its first {self.max_length} tokens"
                )
        return dataset

    def special_tokens(self) -> tuple[list[int], list[int]]:
        """The ids of the special tokens before and after a text."""
        row = self.processor("a", padding=False, return_special_tokens_mask=True)
        ids, special = row["input_ids"][0], row["special_tokens_mask"][0]
        first = special.index(0)
        last = len(special) - special[::-1].index(0)
        return ids[:first], ids[last:]

    def predicted(self, model: PretrainedModel, batch: Mapping[str, Any], top_k: int = 5, **options: Any) -> Tensor:
        """The logits of all tokens for each mask of a text, (B, masks, vocabulary)."""
        logits, masks = model(**batch).logits.numpy(), batch["input_ids"] == self.processor.mask_token_id
        found = np.full((len(masks), masks.sum(-1).max(), logits.shape[-1]), IGNORED, np.float32)
        for row, scores, at in zip(found, logits, masks, strict=True):
            row[: at.sum()] = scores[at]
        return Tensor(found)

    def answers(self, outputs: np.ndarray, dataset: Any, top_k: int | None = 5, **options: Any) -> list[list[Any]]:
        """The `top_k` most probable fillings (None: all) of each text, {"score", "token", "token_str", "sequence"}.

        A text with several masks has a list of such lists, one for each mask; the other masks stay in its sequences.
        """
        check_top_k(top_k)
        found = []
        for ids, scores in zip(dataset.columns["input_ids"], outputs, strict=True):
            masks = np.flatnonzero(np.asarray(ids) == self.processor.mask_token_id)
            lists = [
                [self.filled(ids, at, token, p[token].item(), len(masks) == 1) for token in best[:top_k]]
                for at, p in zip(masks, np.asarray(F.softmax(scores)))
                for best in [(-p).argsort(kind="stable")]
            ]
            found.append(lists[0] if len(lists) == 1 else lists)
        return found

    def filled(self, ids: Sequence[int], at: Any, token: Any, score: float, alone: bool) -> dict[str, Any]:
        """A filling in the form of transformers, which keeps special tokens in a text with several masks."""
        whole = np.array(ids)
        whole[at] = token
        return {
            "score": score,
            "token": int(token),
            "token_str": self.processor.decode([int(token)]),
            "sequence": self.processor.decode(whole, skip_special_tokens=alone),
        }

    def record(self, example: str, answer: list[Any]) -> dict[str, Any]:
        return {"text": example, "fillings": answer}

    def format_answer(self, example: str, answer: list[Any]) -> str:
        lists = answer if isinstance(answer[0], list) else [answer]
        return "\n".join([example, *(f"  {one['score']:6.1%}  {one['token_str']}" for some in lists for one in some)])


class WordBlocks:
    """Blocks with an offset_mapping that separates words: a token that continues a word has no gap before it.

    Raises ValueError if the vocabulary does not mark where words begin.
    """

    def __init__(self, blocks: TextBlocks, tokenizer: Any):
        self.blocks = blocks
        self.tokens, self.block_size = blocks.tokens, blocks.block_size
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        mark = next((mark for mark in MARKS if any(token.startswith(mark) for token in tokens)), None)
        if mark is None:
            raise ValueError(
                f"whole_word_mask=True, but no token of the vocabulary begins with {' or '.join(MARKS)}, which mark "
                "words: leave it out"
            )
        self.continues = np.array([token.startswith(mark) == (mark == MARKS[0]) for token in tokens])

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.blocks[index]
        begins = ~self.continues[item["input_ids"]]
        at = np.arange(len(begins)) + np.cumsum(begins)  # a gap before each word
        return {**item, "offset_mapping": np.stack([at, at + 1], -1)}


def pieces_of(example: Text) -> Iterator[str]:
    """The text of an example, piece by piece."""
    return iter([example]) if isinstance(example, str) else read_pieces(example)
