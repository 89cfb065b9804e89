"""Models with masks, and with fewer layers and channels, as transformers reads their directories."""

import numpy as np
import pytest

from minigrad import no_grad
from minigrad.compress import Pruning, shrink
from minigrad.pretrained import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

MADE = {
    "bert": lambda: BertForSequenceClassification(
        BertConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=12,
            num_labels=3,
        ),
        rng=0,
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=30, n_positions=20, n_embd=16, n_layer=4, n_head=4, eos_token_id=0, bos_token_id=0), rng=0
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_the_same_answers(name, tmp_path):
    model = MADE[name]().eval()
    shrink(model, layers=0.5, channels=0.25)
    Pruning(model, sparsity=0.6)
    model.save_pretrained(tmp_path)
    theirs, told = getattr(transformers, type(model).__name__).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = np.random.default_rng(0).integers(1, 30, (2, 7))
    with torch.no_grad(), no_grad():
        expected = theirs.eval()(torch.tensor(ids)).logits.numpy()
        np.testing.assert_allclose(model(ids).logits.numpy(), expected, rtol=1e-4, atol=1e-5)
