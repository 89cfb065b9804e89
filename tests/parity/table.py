"""The parity table: each layer, loss and activation in float32 beside torch's, in units of float32 noise.

    python tests/parity/table.py

The reference is torch in float64.  A unit is how far torch's own float32 is from it, or half a step of float32 at the
largest value, whichever is more.  Around 1 means: as exact as torch; a wrong formula is in the thousands.
"""

import sys

import numpy as np
import torch
from torch.nn import functional as torch_F

import minigrad as mg
from minigrad import functional as F
from minigrad import losses, nn

rng = np.random.default_rng(0)
T, B, D = 12, 4, 16  # steps, batch, features
SEQUENCE, IMAGE = (T, B, D), (B, 8, 14, 14)


def R(*shape):
    return rng.standard_normal(shape)


def shares(*shape):
    x = np.exp(R(*shape))
    return x / x.sum(-1, keepdims=True)


# What, its arguments, its options, the arrays it is given.
LAYERS = [
    ("Linear", (D, 24), {}, (R(32, D),)),
    ("Linear", (D, 24), {"bias": False}, (R(2, 3, D),)),
    ("LayerNorm", (D,), {}, (R(32, D),)),
    ("LayerNorm", ((B, D),), {"elementwise_affine": False}, (R(*SEQUENCE),)),
    ("GroupNorm", (4, 8), {}, (R(*IMAGE),)),
    ("RMSNorm", (D,), {}, (R(32, D),)),
    ("BatchNorm1d", (D,), {}, (R(32, D),)),
    ("BatchNorm2d", (8,), {}, (R(*IMAGE),)),
    ("BatchNorm2d", (8,), {"eval": True}, (R(*IMAGE),)),
    ("Conv2d", (8, 12, 3), {}, (R(*IMAGE),)),
    ("Conv2d", (8, 12, 3), {"stride": 2, "padding": 1}, (R(*IMAGE),)),
    ("Conv2d", (8, 12, 3), {"dilation": 2, "padding": "same"}, (R(*IMAGE),)),
    ("Conv2d", (8, 12, 3), {"groups": 4}, (R(*IMAGE),)),
    ("Conv2d", (8, 12, 3), {"bias": False}, (R(*IMAGE),)),
    ("Conv2d", (8, 12, 1), {}, (R(*IMAGE),)),
    ("Conv2d", (8, 8, 3), {"groups": 8, "padding": 1}, (R(*IMAGE),)),
    ("Conv1d", (8, 12, 5), {"stride": 2, "padding": 2}, (R(B, 8, 40),)),
    ("ConvTranspose1d", (8, 6, 4), {"stride": 2, "padding": 1}, (R(B, 8, 20),)),
    ("ConvTranspose2d", (8, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (R(*IMAGE),)),
    ("MaxPool2d", (3, 2), {"padding": 1}, (R(*IMAGE),)),
    ("AvgPool2d", (3, 2), {"padding": 1}, (R(*IMAGE),)),
    ("AdaptiveAvgPool2d", ((5, 3),), {}, (R(*IMAGE),)),
    ("AdaptiveMaxPool2d", (4,), {}, (R(*IMAGE),)),
    *[
        (kind, (D, 24), options, (R(*SEQUENCE),))
        for kind in ("RNN", "LSTM", "GRU")
        for options in ({}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True})
    ],
    ("MultiheadAttention", (D, 4), {"batch_first": True}, (R(B, T, D),) * 3),
    ("MultiheadAttention", (D, 4), {}, (R(T, B, D), *[R(9, B, D)] * 2)),
    ("TransformerEncoderLayer", (D, 4, 32, 0.0), {}, (R(*SEQUENCE),)),
    ("TransformerEncoderLayer", (D, 4, 32, 0.0), {"norm_first": True}, (R(*SEQUENCE),)),
    ("TransformerEncoderLayer", (D, 4, 32, 0.0), {"activation": "gelu"}, (R(*SEQUENCE),)),
    ("TransformerDecoderLayer", (D, 4, 32, 0.0), {}, (R(*SEQUENCE), R(9, B, D))),
    ("TransformerDecoderLayer", (D, 4, 32, 0.0), {"norm_first": True}, (R(*SEQUENCE), R(9, B, D))),
    ("ReLU", (), {}, (R(64, D) * 3,)),
    ("ReLU6", (), {}, (R(64, D) * 3,)),
    ("LeakyReLU", (), {}, (R(64, D) * 3,)),
    ("GELU", (), {}, (R(64, D) * 3,)),
    ("GELU", (), {"approximate": "tanh"}, (R(64, D) * 3,)),
    ("SiLU", (), {}, (R(64, D) * 3,)),
    ("Sigmoid", (), {}, (R(64, D) * 3,)),
    ("Tanh", (), {}, (R(64, D) * 3,)),
    ("Softplus", (), {}, (R(64, D) * 3,)),
    ("Softmax", (), {"dim": -1}, (R(64, D) * 3,)),
    ("LogSoftmax", (), {"dim": -1}, (R(64, D) * 3,)),
]
LABELS, OTHER, SIGNS = rng.integers(0, D, 32), R(32, D), np.sign(R(32))
SHARES = shares(32, D)
LOSSES = [
    ("cross_entropy", (LABELS,), {}, (R(32, D),)),
    ("cross_entropy", (LABELS,), {"label_smoothing": 0.1}, (R(32, D),)),
    ("cross_entropy", (SHARES,), {}, (R(32, D),)),
    ("nll_loss", (LABELS,), {}, (np.log(SHARES),)),
    ("binary_cross_entropy", (SHARES,), {}, (1 / (1 + np.exp(-R(32, D))),)),
    ("binary_cross_entropy_with_logits", (SHARES,), {}, (R(32, D),)),
    ("mse_loss", (OTHER,), {}, (R(32, D),)),
    ("l1_loss", (OTHER,), {}, (R(32, D),)),
    ("smooth_l1_loss", (OTHER,), {}, (R(32, D),)),
    ("huber_loss", (OTHER,), {}, (R(32, D),)),
    ("kl_div", (SHARES,), {"reduction": "batchmean"}, (np.log(SHARES),)),
    ("cosine_embedding_loss", (), {}, (R(32, D), R(32, D), SIGNS)),
    ("ctc_loss", (rng.integers(1, 6, (B, 4)), [T] * B, [4, 3, 2, 1]), {}, (R(T, B, 6),)),
    ("scaled_dot_product_attention", (), {"is_causal": True}, (R(B, 2, T, 8),) * 3),
]


def first(y):
    return y[0] if isinstance(y, tuple) else y


def with_torch(make, xs, dtype):
    """The output and every gradient."""
    module = make().to(dtype) if make else None
    given = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in xs]
    y = first(module(*given))
    y.backward(torch.tensor(np.cos(np.arange(y.numel())).reshape(y.shape), dtype=dtype))
    names = dict(module.named_parameters())
    return y, [*(x.grad for x in given), *(p.grad for p in names.values())], names


def row(name, args, options, xs):
    options = dict(options)
    evaluate = options.pop("eval", False)
    if name[0].isupper():
        made = getattr(torch.nn, name)(*args, **options).train(not evaluate)
        state = {key: value.clone() for key, value in made.state_dict().items()}
        ours = getattr(nn, name)(*args, **options).train(not evaluate)
        ours.load_state_dict(state)

        def make():
            made.load_state_dict(state)
            made.zero_grad()
            return made
    else:

        class Loss(torch.nn.Module):
            def forward(self, *xs):
                given = [torch.tensor(a, dtype=xs[0].dtype if np.asarray(a).dtype.kind == "f" else None) for a in args]
                return getattr(torch_F, name)(*xs, *given, **options)

        make, call = Loss, getattr(losses, name, None) or getattr(F, name)

        class Ours(nn.Module):
            def forward(self, *xs):
                given = [a.astype("f4") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]
                return call(*xs, *given, **options)

        ours = Ours()
    if name == "ctc_loss":  # torch's gradient is right only behind a log_softmax
        after, theirs_after = Ours.forward, Loss.forward
        Ours.forward = lambda self, x: after(self, F.log_softmax(x))
        Loss.forward = lambda self, x: theirs_after(self, torch_F.log_softmax(x, -1))
    if name == "cosine_embedding_loss":  # its signs are not differentiated
        xs, signs = xs[:2], xs[2]
        forward, theirs = Ours.forward, Loss.forward
        Ours.forward = lambda self, *xs: forward(self, *xs, signs.astype("f4"))
        Loss.forward = lambda self, *xs: theirs(self, *xs, torch.tensor(signs, dtype=xs[0].dtype))
    xs = [x.astype("f4").astype("f8") for x in xs]
    y64, g64, _ = with_torch(make, xs, torch.float64)
    y64, g64 = y64.detach(), [g.clone() for g in g64]
    y32, g32, names = with_torch(make, xs, torch.float32)
    given = [mg.Tensor(x.astype("f4"), requires_grad=True) for x in xs]
    y = first(ours(*given))
    y.backward(np.cos(np.arange(y.size)).reshape(y.shape).astype("f4"))
    mine = dict(ours.named_parameters())
    pairs = zip([*(x.grad for x in given), *(mine[n].grad for n in names)], g32, g64, strict=True)
    return units(y, y32, y64), max(units(*pair) for pair in pairs)


def units(ours, theirs, exact):
    exact = exact.numpy()
    unit = max(np.abs(theirs.detach().numpy() - exact).max(), 2.0**-24 * np.abs(exact).max(), 1e-30)
    return float(np.abs(ours.numpy() - exact).max() / unit)


def main() -> int:
    print(f"{'':<34} {'options':<44} {'forward':>8} {'backward':>8}")
    worst = 0.0
    for name, args, options, xs in [*LAYERS, *LOSSES]:
        torch.manual_seed(0)
        forward, backward = row(name, args, options, xs)
        worst = max(worst, forward, backward)
        what, how = name + str(args if name[0].isupper() else ""), ", ".join(f"{k}={v}" for k, v in options.items())
        print(f"{what:<34.34} {how:<44.44} {forward:8.2f} {backward:8.2f}")
    print(f"worst: {worst:.2f} units of float32 noise")
    return int(worst > 100)


if __name__ == "__main__":
    sys.exit(main())
