"""Translates the names of modules to those in the files of `peft`, where they differ.

`peft` uses the names of the modules in transformers, and minigrad those in checkpoints.  They are the same for most
families; transformers 5 has different ones for ViT.
"""

from __future__ import annotations

from typing import Any

PREFIXES = "base_model.model.", "base_model."
NEWER = {
    "vit": (
        ("encoder.layer.", "layers."),
        (".attention.attention.query", ".attention.q_proj"),
        (".attention.attention.key", ".attention.k_proj"),
        (".attention.attention.value", ".attention.v_proj"),
        (".attention.output.dense", ".attention.o_proj"),
        (".intermediate.dense", ".mlp.fc1"),
        (".output.dense", ".mlp.fc2"),
    )
}


def theirs(model: Any, path: str) -> str:
    """The name in the files of `peft` for the module or weight at `path`."""
    for ours, new in NEWER.get(model_type(model), ()):
        path = path.replace(ours, new)
    return path


def model_type(model: Any) -> str:
    """The model_type in a model's configuration; "" if it has none."""
    return getattr(getattr(model, "config", None), "model_type", "")


def plain_name(stored: str) -> str:
    """A name in a file without the prefixes and steps that the wrappers of `peft` add."""
    stored = next((stored.removeprefix(prefix) for prefix in PREFIXES if stored.startswith(prefix)), stored)
    return stored.replace(".base_layer.", ".").replace(".modules_to_save.", ".")
