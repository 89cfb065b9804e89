"""The families to compare with transformers, each with a tiny configuration, and example inputs for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .. import pretrained
from ..pretrained.checkpoint.files import read_config
from . import Parity, parity

ENCODER = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
DECODER = ENCODER | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
T5 = {
    "vocab_size": 99,
    "d_model": 32,
    "d_kv": 6,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
HEADS = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "ForQuestionAnswering")
CAUSAL, PICTURES = ("Model", "ForCausalLM"), ("Model", "ForImageClassification")


@dataclass(frozen=True)
class Family:
    """A family of models: the prefix of its class names, a tiny configuration, and its heads.

    `kind` is its input: "text", "pair" (with token types), "seq2seq" or "image".  Models with rotary positions are
    compared in float32, since both libraries compute the angles in float32 whatever the dtype.
    """

    prefix: str
    kind: str
    size: dict[str, Any]
    heads: tuple[str, ...]
    dtype: str = "float64"


FAMILIES = {
    "bert": Family("Bert", "pair", ENCODER, HEADS),
    "roberta": Family("Roberta", "text", ENCODER | {"pad_token_id": 1, "type_vocab_size": 1}, HEADS),
    "distilbert": Family(
        "DistilBert",
        "text",
        {"vocab_size": 99, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 24},
        HEADS,
    ),
    "gpt2": Family(
        "GPT2",
        "text",
        {
            "vocab_size": 99,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 24,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        ("Model", "LMHeadModel", "ForSequenceClassification"),
    ),
    "t5": Family("T5", "seq2seq", T5, ("EncoderModel", "Model", "ForConditionalGeneration")),
    "t5 v1.1": Family(
        "T5",
        "seq2seq",
        T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        ("ForConditionalGeneration",),
    ),
    "llama": Family("Llama", "text", DECODER, CAUSAL, "float32"),
    "qwen2": Family("Qwen2", "text", DECODER, CAUSAL, "float32"),
    "qwen3": Family("Qwen3", "text", DECODER | {"head_dim": 12}, CAUSAL, "float32"),
    "vit": Family(
        "ViT",
        "image",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "image_size": 24,
            "patch_size": 8,
        },
        PICTURES,
    ),
    "resnet": Family(
        "ResNet", "image", {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 2, 1, 1]}, PICTURES
    ),
    "mobilenet_v2": Family(
        "MobileNetV2", "image", {"depth_multiplier": 0.25, "image_size": 32, "classifier_dropout_prob": 0.0}, PICTURES
    ),
    "vgg": Family(
        "VGG",
        "image",
        {"hidden_sizes": [4, 6], "depths": [2, 1], "pooled_size": 7, "intermediate_size": 16},
        ("ForImageClassification",),
    ),
}


def compare_models(
    which: str | None = None, size: dict[str, Any] | None = None, dtype: str | None = None
) -> Iterator[Parity]:
    """Compare our models with those of transformers, one after the other.

    Args:
        which: a name in `FAMILIES`, a model directory, or None for all families.
        size: entries of a family's configuration to change, such as {"hidden_size": 64}.
        dtype: "float64" or "float32"; by default that of the family.

    Raises:
        ValueError: there is no such family or directory, or it holds a model of a family that minigrad lacks.
        ImportError: torch or transformers is not installed.
    """
    if which is None:
        for name in FAMILIES:
            yield from compare_family(name, size or {}, dtype)
    elif which in FAMILIES:
        yield from compare_family(which, size or {}, dtype)
    elif not os.path.isdir(which):
        raise ValueError(
            f"{which!r} is neither a family nor a directory: expected one of {', '.join(FAMILIES)}, or a directory "
            "with config.json"
        )
    elif size:
        raise ValueError(f"{which} is a directory, and its sizes are in its config.json: leave out {', '.join(size)}")
    else:
        yield compare_directory(which, dtype)


def compare_family(name: str, size: dict[str, Any], dtype: str | None) -> Iterator[Parity]:
    """Compare every head of a family, with random weights; models with batch normalisation in training mode as well."""
    from . import reference as parity_reference

    family = FAMILIES[name]
    for head in family.heads:
        ours = getattr(pretrained, family.prefix + head)
        known = [f.name for f in fields(ours.config_class) if f.name != "rest"]
        if unknown := size.keys() - known:
            raise ValueError(f"{ours.config_class.__name__} has no entry {min(unknown)!r}: it has {', '.join(known)}")
        entries = family.size | ({"num_labels": 3} if head.endswith("Classification") else {}) | size
        with TemporaryDirectory() as directory:
            reference = parity_reference.made(family.prefix, head, entries, directory)
            model = ours.from_pretrained(directory)
        inputs, title = example(family.kind, head, model.config), ours.__name__ + (f", {name}" if " " in name else "")
        yield parity(model, reference, inputs, dtype=dtype or family.dtype, title=title)
        if head != "Model" and any("running_var" in weight for weight in model.state_dict()):
            yield parity(
                model.train(), reference.train(), inputs, dtype=dtype or family.dtype, title=f"{title}.train()"
            )


def compare_directory(directory: str, dtype: str | None) -> Parity:
    """Compare the model in a directory as minigrad and as transformers load it."""
    from . import reference as parity_reference

    entries = read_config(directory)
    kind, both = entries["model_type"], {name: family for name, family in FAMILIES.items() if name != "vgg"}
    if kind not in both:
        raise ValueError(
            f"{directory} holds a model of type {kind!r}: expected one that transformers and minigrad have, one of "
            f"{', '.join(both)}"
        )
    family, wanted = both[kind], (entries.get("architectures") or [""])[0]
    head = next((head for head in family.heads if family.prefix + head == wanted), family.heads[0])
    model = getattr(pretrained, family.prefix + head).from_pretrained(directory)
    reference = parity_reference.read(family.prefix + head, directory)
    return parity(model, reference, example(family.kind, head, model.config), dtype=dtype or family.dtype)


def example(kind: str, head: str, config: Any) -> dict[str, np.ndarray]:
    """A batch for a model: right-padded texts or images of noise, with labels if the head takes any."""
    rng, B, T = np.random.default_rng(0), 3, 9
    if kind == "image":
        size = getattr(config, "image_size", None) or config.rest.get("image_size", 40)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        inputs = {"pixel_values": rng.standard_normal((B, config.num_channels, height, width)).astype(np.float32)}
        return inputs if head == "Model" else inputs | {"labels": rng.integers(0, config.num_labels, B)}
    lengths = np.array([T, T - 4, T - 1])
    mask = (np.arange(T) < lengths[:, None]).astype(np.int64)
    words = rng.integers(min(5, config.vocab_size - 1), config.vocab_size, (B, T))  # no special tokens
    pad = config.pad_token_id or 0
    inputs = {"input_ids": np.where(mask, words, pad), "attention_mask": mask}
    if kind == "pair":
        inputs["token_type_ids"] = (np.arange(T) >= lengths[:, None] // 2) * mask
    if kind == "seq2seq":
        answers = rng.integers(5, config.vocab_size, (B, 6))
        if head == "Model":
            inputs["decoder_input_ids"] = answers
        elif head == "ForConditionalGeneration":
            inputs["labels"] = np.where(np.arange(6) < np.array([[6], [4], [5]]), answers, -100)
    elif head == "ForSequenceClassification":
        inputs["labels"] = rng.integers(0, config.num_labels, B)
    elif head == "ForTokenClassification":
        inputs["labels"] = np.where(mask, rng.integers(0, config.num_labels, (B, T)), -100)
    elif head == "ForQuestionAnswering":
        inputs |= {"start_positions": np.array([1, 0, 3]), "end_positions": np.array([4, 2, 3])}
    elif head in ("ForMaskedLM", "ForCausalLM", "LMHeadModel"):
        inputs["labels"] = np.where(mask, words, -100)
    return inputs
