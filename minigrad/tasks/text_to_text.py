"""Text to text: an encoder–decoder (T5) learns to write a target text for a source text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import metrics
from ..data import DataCollatorForSeq2Seq, TextDataset
from ..data.readers import check_utf8, find_column, read_lines, read_rows
from ..errors import is_whole
from ..places import warn
from ..pretrained import AutoModelForSeq2SeqLM, PretrainedModel
from ..pretrained.text.streaming import TextStreamer
from ..pretrained.values import check
from ..tensor import Tensor
from .texts import TextTask, texts_of

# Entries of config.json: the number of tokens to which training truncated targets, and the prefix of its sources.
MAX_TARGET_LENGTH = "text_max_target_length"
PREFIX = "text_source_prefix"
SOURCES, TARGETS = ("source", "text", "input"), ("target", "summary", "output")
OF_LIBRARIES = ("bleu", "chrf", "rouge")


class Pair(NamedTuple):
    """A source text and its target text, None if that is to be predicted."""

    source: str
    target: str | None


@dataclass
class TextToText(TextTask):
    """Pairs of texts, from .jsonl, .json, .csv or .tsv files with a source and a target column.

    Scores are computed from the texts that the model generates: exact match, BLEU and chrF (by sacrebleu) and ROUGE
    (by rouge-score).  The last three are left out unless these libraries are installed (the extra "scores").

    Options:
        source_column, target_column: the names of the columns, if not "source" and "target".
        source_prefix: the text to put before each source, such as "translate English to German: "; None means the
            prefix of the training, or nothing.
        max_target_length: the largest number of tokens of a target and of a generated text; None means as in
            training, or 128.
        num_beams: the number of beams of the search; 1 is greedy.
    """

    source_column: str | None = None
    target_column: str | None = None
    source_prefix: str | None = None
    max_target_length: int | None = None
    num_beams: int = 1

    name = "text2text-generation"
    model_class = AutoModelForSeq2SeqLM
    answer_options: ClassVar[dict[str, Any]] = dict.fromkeys(("max_new_tokens", "do_sample", "temperature", "seed"))
    defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "per_device_eval_batch_size": 32}

    def __post_init__(self):
        for option, given in (("num_beams", self.num_beams), ("max_target_length", self.max_target_length)):
            if not is_whole(given, 1) and not (given is None and option == "max_target_length"):
                raise ValueError(f"{option} is {given!r}; expected a whole number, 1 or more")

    @property
    def metrics(self) -> tuple[str, ...]:
        return "loss", "exact_match"

    @property
    def columns(self) -> dict[str, str]:
        return {"train_loss": "train loss", "eval_loss": "eval loss", "eval_exact_match": "exact match"}

    # Files to examples.

    def read_file(self, path: Path, labelled: bool) -> list[Pair]:
        if not labelled and path.suffix.lower() == ".txt":
            return self.examples(read_lines(path))
        sources = (self.source_column,) if self.source_column else SOURCES
        targets = (self.target_column,) if self.target_column else TARGETS
        found = []
        wanted = [sources, *([targets] if labelled else [])]
        for where, named, row in read_rows(path, wanted, "a source and a target"):
            source = self.checked(where, "source", row[find_column(named, row, "source", sources)])
            target = row[find_column(named, row, "target", targets)] if labelled else None
            found.append(Pair(source, self.checked(where, "target", target) if labelled else None))
        return found

    def checked(self, where: str, what: str, text: Any) -> str:
        """The text.  Raises ValueError for an empty one, or anything that is not a text."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{where}: the {what} is {text!r:.60}; expected a text")
        return check_utf8(where, text)

    def read_item(self, where: str, item: Any) -> Pair:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise ValueError(f"{where} is {str(item)[:60]!r}; expected a pair (source, target) of texts")
        return Pair(self.checked(where, "source", item[0]), self.checked(where, "target", item[1]))

    def examples(self, inputs: Any, **options: Any) -> list[Pair]:
        return [Pair(self.checked(f"text {i}", "source", text), None) for i, text in enumerate(texts_of(inputs), 1)]

    def key(self, example: Pair) -> str:
        return example.source

    # Examples to a dataset.

    def attach(self, model: PretrainedModel, processor: Any) -> None:
        super().attach(model, processor)
        rest = model.config.rest
        check(MAX_TARGET_LENGTH, rest.get(MAX_TARGET_LENGTH), "int | None")
        check(PREFIX, rest.get(PREFIX), "str | None")
        self.prefix = rest.get(PREFIX) or "" if self.source_prefix is None else self.source_prefix
        rest[PREFIX] = self.prefix
        self.longest = self.max_target_length or rest.get(MAX_TARGET_LENGTH) or 128
        rest[MAX_TARGET_LENGTH] = self.longest

    def study(self, train: Sequence[Pair], eval: Sequence[Pair], config: Any) -> dict[str, Any]:
        self.warn_of_overlap(train, eval)
        return {}

    def encode(self, examples: Sequence[Pair], labelled: bool = True) -> TextDataset:
        sources = [self.prefix + example.source for example in examples]
        columns = dict(self.processor(sources, padding=False, max_length=self.max_length))
        if labelled:
            targets = [str(example.target) for example in examples]
            ids = self.processor(targets, padding=False, max_length=self.longest)["input_ids"]
            end = [] if self.processor.eos_token_id is None else [self.processor.eos_token_id]
            # A target that is not truncated ends with the end token, so that the model learns to stop.
            ended = [row if row[-1:] == end or len(row) >= self.longest else [*row, *end] for row in ids]
            columns["labels"] = ended
        dataset: Any = TextDataset(columns)
        dataset.targets = [example.target for example in examples]
        return dataset

    def collator(self) -> Callable[[list], Any] | None:
        return _Collator(self.processor)

    def describe(self, train: Sequence[Pair], eval: Sequence[Pair]) -> str:
        first = train[0]
        pair = " → ".join(" ".join(str(text).split())[:60] for text in first)
        return f"{len(train)} training pairs, {len(eval)} evaluation pairs\nsuch as {pair}"

    # Outputs to scores and answers.

    def outputs(self, model: PretrainedModel, batch: Mapping[str, Any], out: Any = None, **options: Any) -> Tensor:
        """The ids that the model generates, (B, tokens)."""
        chosen = {"max_new_tokens": self.longest, "num_beams": self.num_beams}
        chosen |= self.stop_tokens(model) | options
        seed = chosen.pop("seed", None)
        made = model.generate(batch["input_ids"], batch["attention_mask"], rng=seed, **chosen)  # type: ignore[operator]
        return Tensor(made)

    def texts(self, outputs: np.ndarray) -> list[str]:
        """The generated texts."""
        return [self.processor.decode(row[row >= 0].tolist(), skip_special_tokens=True).strip() for row in outputs]

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        written, targets = self.texts(outputs.astype(np.int64)), [str(target) for target in dataset.targets]
        same = sum(a == b.strip() for a, b in zip(written, targets, strict=True))
        found: dict[str, Any] = {"exact_match": same / len(targets)}
        for name in OF_LIBRARIES:
            try:
                score = getattr(metrics, name)(targets, written)
            except ImportError as error:
                warn(f"{name} is left out: {error}")
                continue
            found |= score if isinstance(score, dict) else {name: score}
        return found

    def answers(self, outputs: np.ndarray, dataset: Any, **options: Any) -> list[dict[str, str]]:
        """{"generated_text": the target that the model generates} for each text."""
        return [{"generated_text": text} for text in self.texts(outputs.astype(np.int64))]

    def returned(self, answers: list[Any], inputs: Any, **options: Any) -> list[Any]:
        """A list, even for a single text, as in transformers."""
        return answers

    def record(self, example: Pair, answer: dict[str, str]) -> dict[str, Any]:
        return {"source": example.source, **answer}

    def format_answer(self, example: Pair, answer: dict[str, str]) -> str:
        return f"{example.source}\n  {answer['generated_text']}"

    def streamer(self, example: Pair, write: Callable[[str], Any]) -> TextStreamer | None:
        if self.num_beams > 1:  # the text is chosen at the end
            return None
        write(f"{example.source}\n  ")
        return TextStreamer(self.processor, write)


class _Collator(DataCollatorForSeq2Seq):
    """Pads pairs, or sources alone."""

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        return super().__call__(items) if "labels" in items[0] else self.pad(items)
