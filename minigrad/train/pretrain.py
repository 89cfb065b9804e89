"""Pretraining on texts without labels: a model learns masked tokens, or each next one, before it learns a task."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ..pretrained import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, train_tokenizer
from ..pretrained.checkpoint.files import CONFIG, WEIGHTS, path_of
from ..pretrained.config import Config
from ..pretrained.text.tokenizer import FILES
from ..tasks import task_class
from ..tasks.language_modeling import pieces_of
from .arguments import TrainingArguments
from .finetune import finetune
from .trainer import Trainer

BEGUN = ".begun"  # in the output directory: the model with random weights, and its tokenizer
KINDS: tuple[tuple[Any, str, str], ...] = (  # of models, the task, and the tokenizer that is learnt if there is none
    (AutoModelForMaskedLM, "fill-mask", "wordpiece"),
    (AutoModelForCausalLM, "text-generation", "bpe"),
)

Texts = str | os.PathLike | Sequence[os.PathLike] | Iterable[str]


def pretrain(
    model_or_config: str | os.PathLike | Config, text: Texts, *, output: str | os.PathLike, **arguments: Any
) -> Trainer:
    """Continue the pretraining of a model on texts of your own, or begin one, and tell on standard output how it goes.

        pretrain("bert-base", "letters.txt", output="outputs/letters")
        pretrain(BertConfig(vocab_size=4000, hidden_size=128), "letters.txt", output="outputs/small")

    A BERT, RoBERTa or DistilBERT learns tokens that are masked, a GPT-2, LLaMA or Qwen each next token.  This is
    `finetune` with the task "fill-mask" or "text-generation", which say what is printed and written; and the model in
    `output` is then fine-tuned like any other.

    Args:
        model_or_config: a model directory; or, to begin with random weights, a configuration, a config.json, or a
            directory with one and no weights.  If there is no tokenizer, one of at most the configuration's
            `vocab_size` tokens is learnt from the texts: word pieces, or byte pairs if each next token is learnt.
        text: a text file, a directory of them, or a table with a text column; a list of paths to any of these; or a
            list of texts.
        output: a new directory for the model of the best epoch, by its loss on a part of the texts that is held out.
        arguments: those of `finetune`.

    Raises as `finetune` does, and ValueError for a family that learns neither.
    """
    given = model_or_config
    config, kind, task, tokens = objective(given)
    directory = None if isinstance(given, Config) else path_of(given)
    if directory is not None and directory.name == CONFIG:
        directory = directory.parent
    if directory is None or directory.is_dir() and not any(file.suffix in WEIGHTS for file in directory.iterdir()):
        start = Path(output) / BEGUN
        if not (arguments.get("resume_from_checkpoint") and start.is_dir()):
            TrainingArguments(output, arguments.get("overwrite", False)).check_output_dir()
            options = {name: arguments[name] for name in ("text_column",) if name in arguments}
            pieces = chain.from_iterable(map(pieces_of, task_class(task)(**options).read(text)))
            begin(config, kind, tokens, directory, pieces, start, arguments.get("seed", 0))
        directory = start
    return finetune(given if directory is None else directory, text, output=output, task=task, **arguments)


def objective(given: str | os.PathLike | Config) -> tuple[Any, Any, str, str]:
    """The configuration of a model, and the row of KINDS for its family.  Raises ValueError if there is none."""
    config: Any = given if isinstance(given, Config) else AutoConfig.from_pretrained(given)
    for row in KINDS:
        if config.model_type in row[0].families:
            return config, *row
    known = sorted({family for kind, _, _ in KINDS for family in kind.families})
    raise ValueError(
        f"a model of the family {config.model_type} does not learn from texts alone; expected one of {', '.join(known)}"
    )


def begin(
    config: Any, kind: Any, tokens: str, source: Path | None, texts: Iterable[str], directory: Path, seed: int
) -> None:
    """Write a model with random weights, and the tokenizer of `source`, or else one learnt from the texts."""
    directory.mkdir(parents=True, exist_ok=True)
    if source is not None and any((source / name).is_file() for name in FILES):
        tokenizer = AutoTokenizer.from_pretrained(source)
        tokenizer.save_pretrained(directory)
    else:
        tokenizer = train_tokenizer(texts, directory, tokens, config.vocab_size)
        config.vocab_size = tokenizer.vocab_size
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if hasattr(config, name):
                setattr(config, name, getattr(tokenizer, name))
    kind.from_config(config, rng=seed).save_pretrained(directory)
