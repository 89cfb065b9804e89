"""Finds trigger words by gradients: words for a template with which a model separates the classes best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data import DataCollatorWithPadding, Example, TextDataset
from ..errors import is_whole
from ..execution import no_grad
from ..nn import Module, init
from ..pretrained import AutoTokenizer, PretrainedModel
from ..pytree import grad
from ..tensor import Tensor
from .answers import pairs
from .prompts import PromptClassifier, PromptForClassification
from .templates import Template
from .verbalizers import Verbalizer, pieces_after


class TriggerSearch(NamedTuple):
    """The template with the words found, and its loss on the examples before the search and after each step."""

    template: Template
    losses: list[float]


def search_triggers(
    model: PretrainedModel,
    tokenizer: AutoTokenizer,
    template: Template | str,
    verbalizer: Verbalizer | Mapping[str, str | Sequence[str]],
    examples: Sequence[Example | tuple[str, str]],
    *,
    steps: int = 20,
    candidates: int = 16,
    initial: str = "the",
    rng: init.Rng = None,
    **options: Any,
) -> TriggerSearch:
    """Find words for the placeholders {trigger} of a template without training (AutoPrompt, Shin et al. 2020).

    Each step draws a placeholder.  The gradient of the loss by its embedding predicts the `candidates` words that would
    lower the loss most (HotFlip, Ebrahimi et al. 2018); the best of these replaces the present word if it lowers the
    loss.  A step takes one backward pass and `candidates` forward passes over the examples.

    Args:
        template: one with {trigger}, such as "{text} {trigger} {trigger} {mask}.".
        examples: labelled examples on which to lower the loss; a few dozen.
        initial: the word with which all placeholders begin.
        rng: the generator or the seed for drawing placeholders.
        options: those of `PromptClassifier`, such as max_length.

    Raises:
        ValueError: the template has no {trigger}, or `PromptClassifier` raises it.

    Candidates are words of letters that are one token and do not belong to the verbaliser.
    """
    template = template if isinstance(template, Template) else Template(template)
    if not template.trigger_count:
        raise ValueError(
            f"the template {template.pattern!r} has no {{trigger}}: expected one or more, as in "
            "'{text} {trigger} {trigger} {mask}.'"
        )
    if not is_whole(steps, 0) or not is_whole(candidates, 1):
        raise ValueError(
            f"steps is {steps!r} and candidates {candidates!r}; expected whole numbers, 0 or more and 1 or more"
        )
    words = [initial] * template.trigger_count
    classifier = PromptClassifier(model, tokenizer, Template(template.pattern, words), verbalizer, **options)
    prompted, generator = classifier.prompted, init.generator(rng)
    texts, labels = pairs(examples)
    columns, places = classifier.read(texts)
    dataset = TextDataset(columns, classifier.label_ids(labels))
    batch, rows = DataCollatorWithPadding()([dataset[i] for i in range(len(dataset))]), np.arange(len(texts))
    positions, ids = np.array(places), batch["input_ids"]
    filled = classifier.template.fill("a", "")
    contexts = ["a " if at or classifier.before else "" for at in filled.triggers]
    tried = {context: candidate_words(tokenizer, context, classifier.verbalizer) for context in set(contexts)}
    for slot, context in enumerate(contexts):
        number = ids[0, positions[0, slot]]
        if pieces_after(tokenizer, context, initial) != [number] or number == tokenizer.unk_token_id:
            raise ValueError(
                f"initial is {initial!r}, which is not one token in the template {template.pattern!r}; expected a "
                "common word, such as 'the', and white space around each {trigger}"
            )

    def loss() -> float:
        with no_grad():
            return float(prompted(**batch).loss.numpy())

    modes = {module: module.training for module in prompted.modules()}
    prompted.eval()
    embedding = word_embedding(model)
    vectors, found = embedding.weight.numpy(), [loss()]
    try:
        for _ in range(steps):
            slot = int(generator.integers(len(words)))
            known, numbers = tried[contexts[slot]]
            column, before = positions[:, slot], words[slot]
            slope = embedding_gradient(prompted, embedding, batch)[rows, column].sum(0)
            order = np.argsort(vectors[numbers] @ slope, kind="stable")[: candidates + 1]
            best, lowest, number = before, found[-1], ids[0, column[0]]
            for i in [i for i in order if known[i] != before][:candidates]:
                ids[rows, column] = numbers[i]
                if (now := loss()) < lowest:
                    best, lowest, number = known[i], now, numbers[i]
            ids[rows, column] = number
            words[slot] = best
            found.append(lowest)
    finally:
        for module, training in modes.items():
            module.training = training
    return TriggerSearch(Template(template.pattern, words).written_out(), found)


def embedding_gradient(
    prompted: PromptForClassification, embedding: Module, batch: dict[str, np.ndarray]
) -> np.ndarray:
    """The derivative (B, T, D) of the loss by the embedding of each token."""
    leaves: list[Tensor] = []

    def cut(module: Module, args: tuple, output: Tensor) -> Tensor:
        leaves.append(Tensor(output.data, requires_grad=True))
        return leaves[-1]

    handle = embedding.register_forward_hook(cut)
    try:
        loss = prompted(**batch).loss
    finally:
        handle.remove()
    return grad(loss, leaves[0]).numpy()


def word_embedding(model: PretrainedModel) -> Any:
    """The module that embeds token ids, whose weight the language-modelling head may share."""
    path = next(name for head, name in model.tied.items() if head.endswith(".weight")).removesuffix(".weight")
    return next(module for name, module in model.named_modules() if name == path)


def candidate_words(tokenizer: AutoTokenizer, before: str, verbalizer: Verbalizer) -> tuple[list[str], np.ndarray]:
    """The words of letters that are one token after the words `before`, except the verbaliser's, and their ids."""
    own = {word.lower() for several in verbalizer.words.values() for word in several}
    words = sorted({token.lstrip("Ġ▁") for token in tokenizer.get_vocab()})
    words = [word for word in words if word.isalpha() and word.lower() not in own]
    first = tokenizer.encode(before.rstrip(), add_special_tokens=False) if before else []
    rows = tokenizer([before + word for word in words], add_special_tokens=False, padding=False)["input_ids"]
    found = {
        ids[-1]: word
        for word, ids in zip(words, rows, strict=True)
        if ids[:-1] == first and ids[-1] != tokenizer.unk_token_id
    }
    return list(found.values()), np.array(list(found), np.int64)
