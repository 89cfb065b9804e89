"""Qwen2 and Qwen3 against transformers: outputs, loss, every gradient, and files in both directions."""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from compare import compare_pretrained  # noqa: E402
from test_llama import LM, TINY  # noqa: E402

from minigrad.pretrained import AutoModel, AutoModelForCausalLM  # noqa: E402


def theirs(family, head="ForCausalLM", **config):
    torch.manual_seed(0)
    return getattr(transformers, family + head)(getattr(transformers, family + "Config")(**TINY | config))


@pytest.mark.parametrize("family", ["Qwen2", "Qwen3"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"tie_word_embeddings": True},
        {"sliding_window": 4, "use_sliding_window": False},
        {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1},
        {"head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
    ],
)
def test_language_model(tmp_path, family, config):
    compare_pretrained(AutoModelForCausalLM, theirs(family, **config), LM, tmp_path)


@pytest.mark.parametrize("family", ["Qwen2", "Qwen3"])
def test_base_model(tmp_path, family):
    compare_pretrained(
        AutoModel, theirs(family, "Model"), {name: x for name, x in LM.items() if name != "labels"}, tmp_path
    )


def test_the_biases_of_keys(tmp_path):
    """The bias of rotated keys has a gradient, which `compare_pretrained` leaves out for the sake of other families."""
    model = theirs("Qwen2")
    ours = compare_pretrained(AutoModelForCausalLM, model, LM, tmp_path)
    model.zero_grad(), ours.zero_grad()
    model(**{name: torch.tensor(x) for name, x in LM.items()}).loss.backward()
    ours(**LM).loss.backward()
    for name, p in ours.named_parameters():
        if name.endswith("k_proj.bias"):
            expected = dict(model.named_parameters())[name].grad.numpy()
            assert np.abs(expected).max() > 1e-4
            np.testing.assert_allclose(p.grad.numpy(), expected, atol=1e-4 * np.abs(expected).max())
