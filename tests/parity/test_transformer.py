"""The Transformer, grouped queries and positions against torch and transformers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from compare import same_layer  # noqa: E402

import minigrad as mg  # noqa: E402
from minigrad import nn  # noqa: E402

flags, sizes = st.booleans(), st.integers(1, 4)


@settings(max_examples=25)
@given(
    st.sampled_from(["Encoder", "Decoder"]),
    sizes,
    sizes,
    sizes,
    st.sampled_from(["relu", "gelu"]),
    flags,
    flags,
    flags,
    flags,
    st.integers(0, 99),
)
def test_a_layer(kind, T, S, B, activation, batch_first, norm_first, bias, masked, seed):
    options = dict(
        dim_feedforward=5, dropout=0.0, activation=activation, batch_first=batch_first, norm_first=norm_first, bias=bias
    )
    ours, theirs = (getattr(n, f"Transformer{kind}Layer")(4, 2, **options) for n in (nn, torch.nn))
    rng = np.random.default_rng(seed)
    target, memory = (rng.standard_normal((B, n, 4) if batch_first else (n, B, 4)) for n in (T, S))
    padding = (rng.random((B, T)) < 0.3) & (np.arange(T) > 0)
    masks = {"src_mask": ~np.tri(T, dtype=bool), "src_key_padding_mask": padding}
    if kind == "Decoder":
        masks = {name.replace("src", "tgt"): mask for name, mask in masks.items()}
    same_layer(ours, theirs, target, *[memory] * (kind == "Decoder"), **masks if masked else {})


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_encoder_and_decoder(norm_first):
    options = dict(dim_feedforward=6, dropout=0.0, norm_first=norm_first, batch_first=True)
    rng = np.random.default_rng(0)
    same_layer(
        nn.Transformer(4, 2, 2, 2, **options),
        torch.nn.Transformer(4, 2, 2, 2, **options),
        rng.standard_normal((2, 5, 4)),
        rng.standard_normal((2, 3, 4)),
        tgt_mask=~np.tri(3, dtype=bool),
    )


def llama(T=6):
    from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

    config = transformers.LlamaConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=2, attn_implementation="eager"
    )
    theirs, x = LlamaAttention(config, 0), torch.randn(2, T, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        angles = LlamaRotaryEmbedding(config)(x, torch.arange(T)[None])
        y = theirs(x, angles, torch.full((T, T), -torch.inf).triu(1)[None, None])[0]
    ours = nn.GroupedQueryAttention(16, 4, 2, positions=nn.RotaryPositions(4))
    ours.load_state_dict(theirs.state_dict())
    return ours, x.numpy(), y.numpy()


def test_grouped_queries_and_rotary_positions_are_llamas():
    ours, x, y = llama()
    np.testing.assert_allclose(ours(x).numpy(), y, atol=3e-7)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4))
@settings(max_examples=15)
def test_in_pieces_with_a_cache_as_at_once(pieces):
    ours, x, y = llama(sum(pieces))
    with mg.no_grad():
        cache, starts = nn.KVCache(sum(pieces)), np.cumsum([0, *pieces])
        found = [ours(mg.Tensor(x[:, a:b]), cache).numpy() for a, b in zip(starts, starts[1:])]
    np.testing.assert_allclose(np.concatenate(found, 1), y, atol=3e-7)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "longest"), [(32, 128), (8, 20)])
def test_relative_positions_are_t5s(bidirectional, buckets, longest):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = np.arange(-300, 301)
    theirs = T5Attention._relative_position_bucket(torch.tensor(distance), bidirectional, buckets, longest)
    np.testing.assert_array_equal(nn.RelativePositionBias(2, buckets, longest, bidirectional).buckets(distance), theirs)
