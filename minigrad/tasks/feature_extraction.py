"""Feature extraction: the vectors that a model without a head makes of a text, or of each of its tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data import TextDataset, read_examples
from ..data.json_text import from_json
from ..data.readers import check_utf8, read_lines
from ..pretrained import AutoModel, PretrainedModel
from ..pretrained.checkpoint.files import SMALL, model_directory, read_json
from ..pretrained.pooling import pooled
from ..tensor import Tensor
from .texts import TextTask, texts_of

STEPS, POOLING, LENGTHS = POOLING_FILES = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
MODES = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}


@dataclass
class FeatureExtraction(TextTask):
    """Texts to vectors, with any model that reads tokens; a head, if it has one, is left out.

    Options:
        text_column: where the texts of a file are, if not in "text" or "sentence".
    """

    text_column: str | None = None

    name = "feature-extraction"
    model_class = AutoModel
    has_head = False
    answer_options: ClassVar[dict[str, Any]] = dict.fromkeys(("pooling", "normalize"))

    def __post_init__(self):
        self.of_texts: dict[str, Any] = {"pooling": "mean", "normalize": True}  # the options for a vector of each text

    def load_processor(self, source: str | os.PathLike) -> Any:
        """The tokenizer; a directory of sentence-transformers also says how it pools, and where it cuts texts."""
        directory = model_directory(source, (*SMALL, POOLING))
        if (steps := directory / STEPS).is_file():
            try:
                kinds = [step["type"].rpartition(".")[2] for step in from_json(steps.read_bytes())]
            except (ValueError, TypeError, KeyError, AttributeError):
                raise ValueError(
                    f"{steps} is damaged: expected a list of steps, each with a type; copy it again"
                ) from None
            self.of_texts["normalize"] = "Normalize" in kinds
        if (file := directory / POOLING).is_file():
            chosen = [name for name, on in read_json(file).items() if name.startswith("pooling_mode") and on is True]
            if len(chosen) != 1 or chosen[0] not in MODES:
                raise ValueError(f"{file} chooses {', '.join(chosen) or 'nothing'}; expected one of {', '.join(MODES)}")
            self.of_texts["pooling"] = MODES[chosen[0]]
        if (file := directory / LENGTHS).is_file() and self.max_length is None:
            self.max_length = read_json(file).get("max_seq_length")
        return super().load_processor(source)

    # Files to examples, which are texts.

    def read_file(self, path: Path, labelled: bool) -> list[str]:
        if path.suffix.lower() == ".txt":
            return self.examples(read_lines(path))
        return [example.text for example in read_examples(path, self.text_column, labelled=False)]

    def examples(self, inputs: Any, **options: Any) -> list[str]:
        return [check_utf8(f"text {i}", text) for i, text in enumerate(texts_of(inputs), 1)]

    def encode(self, examples: Sequence[str], labelled: bool = True) -> TextDataset:
        return TextDataset(self.processor(list(examples), padding=False, max_length=self.max_length))

    # Outputs to answers.

    def outputs(
        self,
        model: PretrainedModel,
        batch: Mapping[str, Any],
        out: Any = None,
        pooling: str | None = None,
        normalize: bool = True,
        **options: Any,
    ) -> Tensor:
        """The vectors of texts (B, D), or without `pooling` of their tokens (B, T, D)."""
        x = (model(**batch) if out is None else out).last_hidden_state
        return x if pooling is None else pooled(x, batch["attention_mask"], pooling, normalize)

    def answers(
        self,
        outputs: np.ndarray,
        dataset: Any,
        pooling: str | None = None,
        normalize: bool = True,
        return_tensors: bool = False,
        **options: Any,
    ) -> list[Any]:
        """For each text its vector (D), or without `pooling` those of its tokens (1, T, D), as transformers has it.

        They are lists, or arrays with `return_tensors`.
        """
        found = (
            [row[None, :length] for row, length in zip(outputs, dataset.lengths, strict=True)]
            if pooling is None
            else list(outputs)
        )
        return found if return_tensors else [array.tolist() for array in found]

    def record(self, example: str, answer: Any) -> dict[str, Any]:
        return {"text": example, "embedding": answer}
