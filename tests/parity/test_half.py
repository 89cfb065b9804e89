"""Decoders and T5 in 16 bits: the logits are no further from float32's, on the same rounded weights, than transformers'
are.
"""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
pytest.importorskip("ml_dtypes")

from minigrad.pretrained import AutoModelForCausalLM, AutoModelForSeq2SeqLM  # noqa: E402
from minigrad.pretrained.t5 import plus  # noqa: E402
from minigrad.tensor import Tensor  # noqa: E402

WIDTH = 512
DECODER = {
    "vocab_size": 300,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
}
T5 = {
    "vocab_size": 300,
    "d_model": WIDTH,
    "d_kv": WIDTH // 8,
    "d_ff": 2 * WIDTH,
    "num_layers": 2,
    "num_heads": 8,
    "use_cache": False,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
IDS = np.random.default_rng(0).integers(2, 300, (2, 24))


def build(name, dtype, factor=1.0):
    """A model of transformers in float32, whose weights have the digits of the dtype."""
    torch.manual_seed(0)
    config = T5 if name == "T5" else DECODER
    model = getattr(transformers, name + ("ForConditionalGeneration" if name == "T5" else "ForCausalLM"))(
        getattr(transformers, name + "Config")(**config)
    ).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(((p + 0.1 * torch.randn_like(p) if p.ndim == 1 else p) * factor).to(dtype).float())
    return model


def logits(model, theirs, directory, dtype):
    """float32's, transformers' in the dtype and ours in it."""
    theirs.save_pretrained(directory)
    batch = {"input_ids": IDS} | (
        {"decoder_input_ids": IDS[:, ::-1].copy()} if theirs.config.is_encoder_decoder else {}
    )
    tensors = {name: torch.tensor(ids) for name, ids in batch.items()}
    ours = model.from_pretrained(directory, dtype=str(dtype).removeprefix("torch.")).eval()
    with torch.no_grad():
        exact, rounded = (
            m(**tensors).logits.double().numpy()
            for m in (theirs, type(theirs).from_pretrained(directory, dtype=dtype).eval())
        )
    return exact, rounded, ours(**batch).logits.numpy().astype(np.float64)


def error(found, exact):
    return np.sqrt(np.mean((found - exact) ** 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["Llama", "Qwen2", "Qwen3", "T5"])
def test_logits(tmp_path, name, dtype):
    model = AutoModelForSeq2SeqLM if name == "T5" else AutoModelForCausalLM
    exact, theirs, ours = logits(model, build(name, dtype), tmp_path, dtype)
    assert 0 < error(ours, exact) < 1.2 * error(theirs, exact) < 0.05 * exact.std()


def test_a_t5_that_float16_cannot_hold(tmp_path):
    """With weights so large that sums overflow float16, ours are as far off as transformers' and finite."""
    exact, theirs, ours = logits(AutoModelForSeq2SeqLM, build("T5", torch.float16, 12.0), tmp_path, torch.float16)
    assert np.isfinite(theirs).all() and np.isfinite(ours).all()
    assert error(ours, exact) < 1.2 * error(theirs, exact) + 1e-3 * exact.std()


def test_what_is_brought_back():
    for values in ([1.0, 65504, -np.inf, np.inf], [1.0, 65504, -65504, 65000]):
        x = torch.tensor(values, dtype=torch.float16)
        most = 64504 if x.isinf().any() else 65504
        assert plus(Tensor(x.numpy()), np.zeros(4, "f2")).tolist() == x.clamp(-most, most).tolist()
    assert plus(Tensor([np.inf]), 0).tolist() == [np.inf]  # float32 is left alone
