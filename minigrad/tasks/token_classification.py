"""Token classification: finding the entities in a text, such as names of people and places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from ..data import DataCollatorWithPadding
from ..data.entities import Sentence, checked_tag, joined_words, plain_sentence, read_sentences
from ..data.text import IGNORED, sorted_labels
from ..metrics.classification import score_table
from ..metrics.entities import entities_of, entity_counts, entity_scores
from ..places import warn
from ..pretrained import AutoModelForTokenClassification, AutoTokenizer
from ..pretrained.config import Config
from .base import counts_table
from .texts import TextTask, WindowDataset

SCHEMES = ("BIO", "BIOES")
STRATEGIES = ("none", "simple", "first", "average", "max")


class TokenDataset(WindowDataset):
    """Windows of texts; `places[i][word]` is the row and column of the first token of a word of text i."""

    def __init__(self, encodings: Any, rows: list[Any], of: list[int], examples: Sequence[Sentence]):
        super().__init__(encodings, rows, of, examples)
        self.places = places_of(rows, of, len(examples))


def places_of(rows: list[Any], of: list[int], count: int) -> list[dict[int, tuple[int, int]]]:
    """The row and column of the first token of each word, for each of `count` texts; row i belongs to text of[i]."""
    places: list[dict[int, tuple[int, int]]] = [{} for _ in range(count)]
    for begins in (True, False):  # a window may begin within a word; a token that begins a word is preferred
        for row, (encoding, text) in enumerate(zip(rows, of, strict=True)):
            for column, (word, (start, _)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
                if word is not None and begins == (start == 0):
                    places[text].setdefault(word, (row, column))
    return places


@dataclass
class TokenClassification(TextTask):
    """Texts with entities, from CoNLL files, or JSONL files of words with tags or texts with spans.

    `minigrad.data.entities` describes the files.  The first token of a word carries its label.  Texts of more than
    `max_length` tokens are read in overlapping windows, each of which repeats the last quarter of the one before.

    Options:
        scheme: the tags that spans are converted to, "BIO" or "BIOES"; tags in files are kept.
    """

    scheme: str = "BIO"

    name = "token-classification"
    model_class = AutoModelForTokenClassification
    answer_options: ClassVar[dict[str, Any]] = {"aggregation_strategy": "first"}

    def __post_init__(self):
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme is {self.scheme!r}; expected one of {', '.join(map(repr, SCHEMES))}")

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("f1", "precision", "recall", "macro_f1", "accuracy", "loss")

    @property
    def columns(self) -> dict[str, str]:
        return {
            "train_loss": "train loss",
            "train_accuracy": "accuracy",
            "eval_loss": "eval loss",
            "eval_accuracy": "accuracy",
            "eval_precision": "precision",
            "eval_recall": "recall",
            "eval_f1": "   F1",
        }

    @property
    def names(self) -> list[str]:
        """The tags in the order of the model's scores."""
        return list(self.model.config.id2label.values())

    # Files to examples.

    def read_file(self, path: Path, labelled: bool) -> list[Sentence]:
        return read_sentences(path, labelled, self.scheme)

    def read_item(self, where: str, item: Any) -> Sentence:
        if isinstance(item, Sentence):
            return item
        pair = (
            isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(part, (list, tuple)) for part in item)
        )
        if not pair or len(item[0]) != len(item[1]) or not item[0]:
            raise ValueError(
                f"{where} is {str(item)[:60]!r}; expected a pair of lists, words and as many tags, such as "
                "(['Ada', 'came'], ['B-PER', 'O'])"
            )
        words, tags = item
        for word in words:
            if not isinstance(word, str) or not word.strip():
                raise ValueError(f"{where}: a word is {word!r}; expected a text that is not empty")
        return joined_words(words, [checked_tag(where, tag) for tag in tags])

    def examples(self, inputs: Any, is_split_into_words: bool = False, **options: Any) -> list[Sentence]:
        """The examples for texts, or for lists of words if is_split_into_words."""
        texts = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if is_split_into_words and texts and all(isinstance(word, str) for word in texts):
            texts = [texts]
        kind = list if is_split_into_words else str
        for i, text in enumerate(texts, 1):
            expected = "a list of words" if is_split_into_words else "a str that is not empty"
            if not isinstance(text, (kind, tuple) if is_split_into_words else kind):
                raise TypeError(f"text {i} is {str(text)[:60]!r}, a {type(text).__name__}; expected {expected}")
            if not text:
                raise ValueError(f"text {i} is {text!r}; expected {expected}")
        if not texts:
            raise ValueError("there is no text; expected one or more")
        make = (lambda where, words: joined_words(words)) if is_split_into_words else plain_sentence
        return [make(f"text {i}", text) for i, text in enumerate(texts, 1)]

    def key(self, example: Sentence) -> str:
        return " ".join(example.words)

    # Examples to a model and a dataset.

    def study(self, train: Sequence[Sentence], eval: Sequence[Sentence], config: Config) -> dict[str, Any]:
        self.warn_of_overlap(train, eval)
        used = {tag for sentence in train for tag in sentence.tags or ()}
        kinds = sorted_labels(tag[2:] for tag in used if tag != "O")
        if not kinds:
            raise ValueError(f"none of the {len(train)} training texts has an entity; expected tags such as B-PER")
        marks = [mark for mark in "BIES" if any(tag.startswith(f"{mark}-") for tag in used)]
        names = ["O", *(f"{mark}-{kind}" for kind in kinds for mark in marks)]
        own = list((config.id2label or {}).values())
        if set(names) <= set(own):  # keep the order in which the rows of the model's head are
            names = own
        for sentence in eval:
            for tag in sentence.tags or ():
                if tag not in names:
                    raise ValueError(
                        f"the tag {tag!r} (of {sentence.text[:40]!r}) is not among the {len(names)} training tags "
                        f"{', '.join(names[:20])}; add training texts with it, or remove it"
                    )
        present = {kind for sentence in eval for kind, _, _ in entities_of(sentence.tags or ())}
        if missing := [kind for kind in kinds if kind not in present]:
            warn(f"there is no evaluation example of {', '.join(missing)}")
        return {"id2label": dict(enumerate(names))}

    def load_processor(self, source: Any) -> AutoTokenizer:
        tokenizer = super().load_processor(source)
        if "ByteLevel(add_prefix_space=False" in repr(tokenizer.rules.pre_tokenizer):  # a word's space is part of it
            tokenizer = AutoTokenizer.from_pretrained(source, add_prefix_space=True, pad_token=tokenizer.pad_token)
        return tokenizer

    def encode(self, examples: Sequence[Sentence], labelled: bool = True) -> TokenDataset:
        found = self.processor(
            [example.words for example in examples],
            is_split_into_words=True,
            padding=False,
            max_length=self.max_length,
            stride=0 if self.max_length is None else self.max_length // 4,
            return_overflowing_tokens=True,
        )
        of, rows = found.pop("overflow_to_sample_mapping"), found.encodings
        if labelled:  # a window that lies within one long word has only ignored labels and is left out
            begun = {row for places in places_of(rows, of, len(examples)) for row, _ in places.values()}
            of, rows, *columns = ([column[i] for i in sorted(begun)] for column in (of, rows, *found.values()))
            found = dict(zip(found, columns, strict=True))
        dataset = TokenDataset(found, rows, of, examples)
        if labelled:
            number = {name: i for i, name in enumerate(self.names)}
            labels = [[IGNORED] * length for length in dataset.lengths]
            for example, places in zip(examples, dataset.places, strict=True):
                for word, (row, column) in places.items():
                    tag = (example.tags or ())[word]
                    if tag not in number:
                        raise ValueError(
                            f"the tag {tag!r} (of {example.text[:40]!r}) is not among the model's {len(number)} tags "
                            f"{', '.join(self.names[:20])}"
                        )
                    labels[row][column] = number[tag]
            dataset.columns["label"] = labels
        return dataset

    def collator(self) -> DataCollatorWithPadding:
        return DataCollatorWithPadding(self.processor.pad_token_id)  # on the right: `places` are columns from the left

    def describe(self, train: Sequence[Sentence], eval: Sequence[Sentence]) -> str:
        """The number of entities of each type, and one entity."""
        found = [[entity for text in part for entity in entities_of(text.tags or ())] for part in (train, eval)]
        counts = [Counter(kind for kind, _, _ in some) for some in found]
        words = [sum(len(text.words) for text in part) for part in (train, eval)]
        rows = [(kind, counts[0][kind], counts[1][kind]) for kind in sorted(counts[0])]
        rows += [("words", *words), ("texts", len(train), len(eval))]
        text, (kind, first, last) = next((text, e) for text in train for e in entities_of(text.tags or ()))
        shown = f"{text.text[:90]}{'...' * (len(text.text) > 90)}"
        example = f"such as {kind}: {' '.join(text.words[first : last + 1])}, in {shown}"
        return "\n".join([*counts_table(rows, "entity"), example])

    def note(self, dataset: TokenDataset) -> str:
        return dataset.note("texts", self.max_length)

    # Outputs to scores and answers.

    def predicted(self, outputs: np.ndarray, dataset: TokenDataset) -> list[list[str]]:
        """The tag of each word of each text; O for a word without a token."""
        best, names = outputs.argmax(-1), self.names
        return [
            [names[best[places[word]]] if word in places else "O" for word in range(len(example.words))]
            for example, places in zip(dataset.examples, dataset.places, strict=True)
        ]

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        true, predicted = [example.tags for example in dataset.examples], self.predicted(outputs, dataset)
        kinds, *counts = entity_counts(true, predicted)
        return {**entity_scores(true, predicted), "counts": dict(zip(kinds, np.stack(counts, axis=1).tolist()))}

    def report(self, scores: Mapping[str, Any]) -> str:
        """A table of the entities' scores by type."""
        words = f"accuracy of the words  {scores['accuracy']:.3f}"
        if not scores["counts"]:
            return f"There is no entity, true or predicted.\n\n{words}"
        counts = np.array(list(scores["counts"].values())).T
        table = score_table(list(scores["counts"]), *counts, averages=("micro", "macro", "weighted"))
        return f"{table}\n\n{words}"

    def answers(
        self,
        outputs: np.ndarray,
        dataset: TokenDataset,
        aggregation_strategy: str = "none",
        ignore_labels: Sequence[str] = ("O",),
        **options: Any,
    ) -> list[list[dict[str, Any]]]:
        """The tokens of each text that are in entities, or its entities if there is an aggregation_strategy.

        "none" gives {"entity": tag, "score": probability, "index": position of the token, "word": token, "start",
        "end"}; every other strategy gives {"entity_group": type, "score", "word", "start", "end"}.  "simple" joins
        neighbouring tokens of a type.  The others first give each word one tag, that of its first token ("first"), of
        its token with the highest score ("max"), or of the mean of their probabilities ("average").
        """
        if aggregation_strategy not in STRATEGIES:
            raise ValueError(
                f"aggregation_strategy is {aggregation_strategy!r}; expected one of {', '.join(STRATEGIES)}"
            )
        p = np.asarray(F.softmax(outputs))
        tokens: list[list[dict[str, Any]]] = [[] for _ in dataset.examples]
        seen: set[tuple] = set()
        for row, (encoding, text) in enumerate(zip(dataset.rows, dataset.of, strict=True)):
            example = dataset.examples[text]
            for column, (word, span) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
                if word is None or (text, word, span) in seen:  # the same token in an overlapping window
                    continue
                seen.add((text, word, span))
                start, end = (example.offsets[word][0] + at for at in span)
                unknown = encoding.ids[column] == self.processor.unk_token_id
                spelt = example.text[start:end] if unknown else encoding.tokens[column]
                tokens[text].append(
                    {"p": p[row, column], "index": column, "word": spelt, "start": start, "end": end, "of": word}
                )
        name = "entity" if aggregation_strategy == "none" else "entity_group"
        found = [self.entities(some, aggregation_strategy) for some in tokens]
        return [[one for one in some if one[name] not in ignore_labels] for some in found]

    def entities(self, tokens: list[dict[str, Any]], strategy: str) -> list[dict[str, Any]]:
        """The tokens with their tags, or groups of them."""
        groups = [[token] for token in tokens]
        if strategy not in ("none", "simple"):
            words: dict[int, list[dict[str, Any]]] = {}
            for token in tokens:
                words.setdefault(token["of"], []).append(token)
            groups = list(words.values())
        tagged = [self.tagged(group, strategy) for group in groups]
        if strategy == "none":
            return tagged
        found: list[list[dict[str, Any]]] = []
        for one in tagged:
            mark, kind = split_tag(one["entity"])
            before = split_tag(found[-1][-1]["entity"]) if found else None
            if before and kind == before[1] and mark not in "BS" and before[0] not in "ES":
                found[-1].append(one)
            else:
                found.append([one])
        return [
            {
                "entity_group": split_tag(group[0]["entity"])[1],
                "score": float(np.mean([one["score"] for one in group])),
                "word": self.spelling([one["word"] for one in group]),
                "start": group[0]["start"],
                "end": group[-1]["end"],
            }
            for group in found
        ]

    def tagged(self, tokens: list[dict[str, Any]], strategy: str) -> dict[str, Any]:
        """The tag of a token, or of all tokens of a word."""
        p = tokens[0]["p"]
        if strategy == "max":
            p = max(tokens, key=lambda token: token["p"].max())["p"]
        elif strategy == "average":
            p = np.mean([token["p"] for token in tokens], axis=0)
        alone = strategy in ("none", "simple")
        return {
            "entity": self.names[int(p.argmax())],
            "score": p.max().item(),
            **({"index": tokens[0]["index"]} if alone else {}),
            "word": tokens[0]["word"] if alone else self.spelling([token["word"] for token in tokens]),
            "start": tokens[0]["start"],
            "end": tokens[-1]["end"],
        }

    def spelling(self, tokens: list[str]) -> str:
        """Tokens as text."""
        decoder = self.processor.rules.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(tokens)

    def record(self, example: Sentence, answer: list[dict[str, Any]]) -> dict[str, Any]:
        return {"text": example.text, "entities": answer}

    def format_answer(self, example: Sentence, answer: list[dict[str, Any]]) -> str:
        rows = [
            f"  {one['score']:6.1%}  {one['entity_group']}: {example.text[one['start'] : one['end']]}" for one in answer
        ]
        return "\n".join([example.text, *(rows or ["  no entity"])])


def split_tag(tag: str) -> tuple[str, str]:
    """The mark and the type of a tag; a tag without a mark, such as O, has the mark "I"."""
    return (tag[0], tag[2:]) if tag[:2] in ("B-", "I-", "E-", "S-") else ("I", tag)
