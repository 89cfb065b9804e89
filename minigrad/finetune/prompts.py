"""Prompts: a masked or causal language model classifies a text by the word that it predicts in a sentence about it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from .. import backend, losses, ops
from .. import functional as F
from ..backend import Array
from ..data import DataCollatorWithPadding, Example, TextDataset
from ..errors import is_whole
from ..execution import no_grad
from ..nn import Buffer, Module
from ..patterns import matches
from ..places import warn
from ..pretrained import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PretrainedModel
from ..pretrained.checkpoint.files import read_json, replacing
from ..pretrained.decoder import CausalLM
from ..pretrained.inputs import as_given
from ..pretrained.outputs import ClassifierOutput
from ..tensor import Tensor
from .answers import best_first, pairs
from .peft_model import PeftModel
from .templates import Template
from .verbalizers import Verbalizer

CONTENT_FREE = "N/A", "", "[MASK]"  # Zhao et al. 2021, section 5
SETTINGS = "prompt.json"
SAVED = "template", "verbalizer", "demonstrations", "separator", "max_length", "calibration"


class PromptForClassification(Module):
    """A language model that scores each class by the mean of the logits of its words at one position of the prompt.

    It returns a loss and logits like a model for sequence classification, so a `Trainer` can fine-tune the whole model
    through the prompt (pattern-exploiting training, Schick & Schütze 2021, without its ensemble).

    Args:
        model: a masked or causal language model.
        token_ids: the ids of the words of each class.

    `calibration` (classes,) is added to the scores; it is zero until `PromptClassifier.calibrate` sets it.
    """

    def __init__(self, model: PretrainedModel, token_ids: Sequence[Sequence[int]]):
        self.model: Any = model
        self.words = np.concatenate([np.asarray(ids, np.int64) for ids in token_ids])
        self.sizes = [len(ids) for ids in token_ids]
        device = next(iter(model.parameters())).device
        self.calibration = Buffer(np.zeros(len(token_ids), np.float32), device=device)

    def forward(
        self,
        input_ids: Any,
        mask_positions: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        labels: Any = None,
    ) -> ClassifierOutput:
        """Score a batch of prompts.

        Args:
            input_ids, attention_mask, token_type_ids: (B, T), as for the model, padded on either side.
            mask_positions: (B,), the token of each prompt at which the words are scored, not counting padding: the
                mask, or for a causal model the last token.
            labels: (B,), class numbers.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        inputs = {name: as_given(given) for name, given in inputs.items() if given is not None}
        if attention_mask is not None:
            inputs = padded_right(inputs)
        x = self.model.base_model(**inputs).last_hidden_state  # (B, T, D)
        xp = backend.of(x.data).xp
        logits = self.model.token_logits(x[xp.arange(len(x)), xp.asarray(as_given(mask_positions))])[
            :, self.words
        ]  # (B, words)
        ends = np.cumsum(self.sizes)
        means = [logits[:, end - size : end].mean(1) for end, size in zip(ends, self.sizes, strict=True)]
        scores = ops.stack(means, 1) + self.calibration
        return ClassifierOutput(None if labels is None else losses.cross_entropy(scores, labels), scores)


def padded_right(inputs: dict[str, Array]) -> dict[str, Array]:
    """The columns (B, T), with the padding of each row, found by the attention mask, moved to its end."""
    mask = inputs["attention_mask"]
    xp = backend.of(mask).xp
    order = (xp.arange(mask.shape[1]) + mask.argmax(1)[:, None]) % mask.shape[1]
    return {name: xp.take_along_axis(xp.asarray(column), order, 1) for name, column in inputs.items()}


class PromptClassifier:
    """A classifier of texts from a language model, a template and a verbaliser; it answers as `TextClassifier` does.

        classifier = PromptClassifier(
            AutoModelForMaskedLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory),
            Template("{text} It is about {mask}."), Verbalizer({"http": ["web"], "email": ["mail"]}),
        )
        classifier("Open a socket.")       # [{"http": 0.83, "email": 0.17}]

    Without `demonstrations` classification is zero-shot.  With some, each is written before the prompt, its mask filled
    with the first word of its class (in-context learning, Brown et al. 2020).  To fine-tune the model through its
    prompt, pass `classifier.prompted` to a Trainer, with `classifier.dataset(examples)`.

    Args:
        model: a masked language model, or a causal one, which reads the prompt up to {mask}.
        demonstrations: labelled examples, as (text, label).
        separator: the text after each demonstration.
        max_length: the largest number of tokens of a prompt, by default as many as the model reads.  In a longer prompt
            the end of the text is truncated, never the template.

    Raises:
        TypeError: the model is of another kind.
        ValueError: a word is not one token, the template does not suit the model's kind or is longer than it reads, or
            the class of a demonstration has no word.

    Warns of a language-modelling head that is not in the checkpoint: its answers are noise until it is trained.
    """

    def __init__(
        self,
        model: PretrainedModel,
        tokenizer: AutoTokenizer,
        template: Template | str,
        verbalizer: Verbalizer | Mapping[str, str | Sequence[str]],
        *,
        demonstrations: Sequence[Example | tuple[str, str]] = (),
        separator: str = "\n",
        max_length: int | None = None,
    ):
        if not hasattr(model, "token_logits"):
            raise TypeError(
                f"model is a {type(model).__name__}; expected a masked or causal language model: type "
                "AutoModelForMaskedLM.from_pretrained(...) or AutoModelForCausalLM.from_pretrained(...)"
            )
        if not hasattr(tokenizer, "mask_token"):
            raise TypeError(
                f"tokenizer is a {type(tokenizer).__name__}; expected a tokenizer: type "
                "AutoTokenizer.from_pretrained(...)"
            )
        if max_length is not None and not is_whole(max_length, 1):
            raise ValueError(f"max_length is {max_length!r}; expected a whole number of tokens, or None")
        if not isinstance(separator, str):
            raise TypeError(f"separator is {separator!r}; expected a str, such as '\\n'")
        self.template = template if isinstance(template, Template) else Template(template)
        self.verbalizer = verbalizer if isinstance(verbalizer, Verbalizer) else Verbalizer(verbalizer)
        self.tokenizer, self.separator = tokenizer, separator
        self.demonstrations = (
            [Example(*pair) for pair in zip(*pairs(demonstrations), strict=True)] if demonstrations else []
        )
        self.is_causal = isinstance(model, CausalLM)
        self._check_template()
        self.prompted = PromptForClassification(model, self.verbalizer.token_ids(tokenizer, self.template))
        numbers = self.label_ids([example.label for example in self.demonstrations])
        words = [self.verbalizer.words[self.classes[i]][0] for i in numbers]
        self.before = "".join(
            self.template.fill(example.text, word).prompt + separator
            for example, word in zip(self.demonstrations, words, strict=True)
        )
        limits = [n for n in (max_length, model.config.longest, tokenizer.model_max_length) if n is not None]
        self.max_length = min(limits, default=None)
        self.encode(["a"])  # refuses a template that is too long
        if new := untrained(model):
            warn(
                f"the language-modelling head of this {type(model).__name__} is not in the checkpoint ({new[0]} is "
                "new): its answers are noise until it is trained"
            )

    def _check_template(self):
        if self.is_causal and not self.template.has_text_first:
            raise ValueError(
                f"the template {self.template.pattern!r} has {{mask}} before {{text}}, but a causal model reads from "
                "left to right: put {mask} after {text}, as in '{text} Topic: {mask}'"
            )
        if not self.is_causal and self.tokenizer.mask_token is None:
            raise ValueError(
                f"the tokenizer in {self.tokenizer.directory} has no mask token, which a masked language model needs: "
                "use the tokenizer of the model, or name it, as in AutoTokenizer.from_pretrained(..., "
                "mask_token='[MASK]')"
            )

    @property
    def model(self) -> PretrainedModel:
        """The language model."""
        return self.prompted.model

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self.verbalizer.classes

    def __call__(
        self, texts: str | Sequence[str], top_k: int | None = None, batch_size: int = 64
    ) -> list[dict[str, float]]:
        """The `top_k` most probable classes (default: all) of each text with their probabilities, the best first."""
        logits = self.logits([texts] if isinstance(texts, str) else texts, batch_size)
        return best_first(probabilities(logits), self.classes, top_k)

    def logits(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """The scores (texts, classes), calibrated if `calibrate` was called, computed without dropout."""
        return in_batches(self.prompted, TextDataset(self.encode(texts)), batch_size)

    def calibrate(self, content_free: str | Sequence[str] = CONTENT_FREE) -> Self:
        """Divide each probability by its mean over texts without content, and normalise the sum to 1; returns itself.

        So a class is not preferred because its words are frequent: contextual calibration (Zhao et al. 2021).  With
        unlabelled texts of the task instead, their mean prediction is the divisor.  An earlier calibration is replaced.
        """
        zero = np.zeros(len(self.classes), np.float32)
        self.prompted.calibration.copy_(zero)
        texts = [content_free] if isinstance(content_free, str) else content_free
        prior = probabilities(self.logits(texts)).mean(0)
        self.prompted.calibration.copy_(-np.log(np.maximum(prior, np.finfo(np.float32).tiny)))
        return self

    def dataset(self, examples: Sequence[Example | tuple[str, str] | str]) -> TextDataset:
        """The prompts of texts, or of labelled examples with their class numbers, as a `Trainer` takes them."""
        texts = [example for example in examples if isinstance(example, str)]
        if len(texts) == len(examples):
            return TextDataset(self.encode(texts))
        texts, labels = pairs(examples)
        return TextDataset(self.encode(texts), self.label_ids(labels))

    def label_ids(self, labels: Sequence[str]) -> np.ndarray:
        """The class number of each label, int64.  Raises ValueError for a label without a word in the verbaliser."""
        for label in labels:
            if label not in self.verbalizer.words:
                raise ValueError(
                    f"the class {label!r} has no word; the verbaliser has words for {', '.join(self.classes)}: add it, "
                    f"as in Verbalizer({{..., {label!r}: ['a word']}})"
                )
        return np.array([self.classes.index(label) for label in labels], np.int64)

    def prompt(self, text: str) -> str:
        """The prompt for a text, before truncation."""
        filled = self.template.fill(text, self.tokenizer.mask_token or "")
        return self.before + (filled.prompt[: filled.mask].rstrip() if self.is_causal else filled.prompt)

    def encode(self, texts: Sequence[str]) -> dict[str, list]:
        """The model's inputs as token lists, and `mask_positions`, with an entry for each text.

        Raises ValueError if the template alone is longer than the model reads.
        """
        return self.read(texts)[0]

    def read(self, texts: Sequence[str]) -> tuple[dict[str, list], list[list[int]]]:
        """The result of `encode`, and the positions of the triggers' tokens in each text's prompt."""
        if not isinstance(texts, Iterable):
            raise TypeError(f"texts is a {type(texts).__name__}; expected a str, or several in a list")
        for i, text in enumerate(texts, 1):
            if not isinstance(text, str):
                raise TypeError(f"text {i} is {str(text)[:60]!r}, a {type(text).__name__}; expected a str")
        batch = self.tokenizer(
            [self.prompt(text) for text in texts],
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        names = [name for name in ("input_ids", "token_type_ids")[: 1 if self.is_causal else 2] if name in batch]
        columns: dict[str, list] = {name: [] for name in (*names, "mask_positions")}
        triggers: list[list[int]] = []
        for row, text in enumerate(texts):
            filled = self.template.fill(text, self.tokenizer.mask_token or "")
            start, end, mask, *others = (len(self.before) + at for at in (*filled.text, filled.mask, *filled.triggers))
            tokens = [
                (a, b) if not special else (0, 0)  # the characters of each token
                for (a, b), special in zip(batch["offset_mapping"][row], batch["special_tokens_mask"][row], strict=True)
            ]
            if self.is_causal:
                size = max(
                    (i + 1 for i, special in enumerate(batch["special_tokens_mask"][row]) if not special), default=0
                )
                position = size - 1
            else:
                size, position = len(tokens), batch.char_to_token(row, mask)
            kept = self._kept([i for i, (a, b) in enumerate(tokens[:size]) if start <= a < b <= end], size, row)
            for name in names:
                columns[name].append([batch[name][row][i] for i in kept])
            place: dict[int | None, int] = {i: new for new, i in enumerate(kept)}
            columns["mask_positions"].append(place[position])
            triggers.append([place[batch.char_to_token(row, at)] for at in others])
        return columns, triggers

    def _kept(self, own: list[int], size: int, row: int) -> list[int]:
        """The positions of the tokens to keep of a prompt of `size` tokens; `own` are those of the text."""
        if not size:
            raise ValueError(f"the prompt of text {row} is empty: expected words around {{text}} in the template")
        if self.max_length is None or size <= self.max_length:
            return list(range(size))
        excess = size - self.max_length
        if excess >= len(own):
            raise ValueError(
                f"the template{' with its demonstrations' * bool(self.before)} is {size - len(own)} tokens long, but "
                f"the model reads {self.max_length}, which leaves no room for a text: "
                + ("give fewer or shorter demonstrations" if self.before else "give a shorter template")
            )
        cut = set(own[-excess:])
        return [i for i in range(size) if i not in cut]

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Save the model and the tokenizer, and template, words and options in prompt.json, for `from_pretrained`.

        Raises ValueError for a model with adapters, which would be saved without the model.
        """
        if isinstance(self.model, PeftModel):
            raise ValueError(
                "the model has adapters, which are saved without their model: expected a plain model; type "
                "classifier.model.merge_and_unload() first"
            )
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)
        settings = {
            "template": self.template.written_out().pattern,
            "verbalizer": {name: list(words) for name, words in self.verbalizer.words.items()},
            "demonstrations": [list(example) for example in self.demonstrations],
            "separator": self.separator,
            "max_length": self.max_length,
            "calibration": self.prompted.calibration.numpy().tolist(),
        }
        with replacing(Path(directory) / SETTINGS) as (part,):
            part.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike) -> PromptClassifier:
        """The classifier that `save_pretrained` wrote.  Raises FileNotFoundError or ValueError if there is none."""
        if not (Path(directory) / SETTINGS).is_file():
            raise FileNotFoundError(
                f"{directory} holds no {SETTINGS}: expected a directory that PromptClassifier.save_pretrained wrote; "
                "with a model alone, type PromptClassifier(model, tokenizer, template, verbalizer)"
            )
        settings = read_json(Path(directory) / SETTINGS)
        if settings.keys() != set(SAVED):
            raise ValueError(
                f"{Path(directory) / SETTINGS} has {', '.join(settings)}; expected {', '.join(SAVED)}: save the "
                "classifier again"
            )
        calibration = np.array(settings.pop("calibration"), np.float32)
        is_masked = AutoConfig.from_pretrained(directory).model_type in AutoModelForMaskedLM.families
        auto = AutoModelForMaskedLM if is_masked else AutoModelForCausalLM
        classifier = cls(
            auto.from_pretrained(directory),
            AutoTokenizer.from_pretrained(directory),
            settings.pop("template"),
            Verbalizer(settings.pop("verbalizer")),
            **settings,
        )
        if calibration.shape != classifier.prompted.calibration.shape:
            raise ValueError(
                f"{Path(directory) / SETTINGS} has a calibration of {calibration.size} numbers for "
                f"{len(classifier.classes)} classes: save the classifier again"
            )
        classifier.prompted.calibration.copy_(calibration)
        return classifier


def untrained(model: PretrainedModel) -> list[str]:
    """The head's newly initialised weights, if the vectors among them still have their constant initial values."""
    new = [] if model.load_report is None else model.load_report.newly_initialised
    own, new = model.state_dict(), [name for name in new if matches(model.heads, name)]
    is_as_begun = all(own[name].ndim > 1 or np.ptp(own[name].numpy()) == 0 for name in new)
    return new if is_as_begun else []


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of each row."""
    with no_grad():
        return F.softmax(Tensor(logits)).numpy()


def in_batches(model: Module, dataset: TextDataset, batch_size: int = 64) -> np.ndarray:
    """The logits of a model for each text, in order, without dropout; a batch holds texts of similar length."""
    if not is_whole(batch_size, 1):
        raise ValueError(f"batch_size is {batch_size!r}; expected a whole number, 1 or more")
    modes = {module: module.training for module in model.modules()}
    order = np.argsort(dataset.lengths, kind="stable")
    model.eval()
    collate, found = DataCollatorWithPadding(), []
    try:
        with no_grad():
            for start in range(0, len(order), batch_size):
                batch = collate([dataset[i] for i in order[start : start + batch_size]])
                found.append(model(**batch).logits.numpy())
    finally:
        for module, training in modes.items():
            module.training = training
    logits = np.concatenate(found)
    return logits[np.argsort(order)]
