"""Every layer and every optimiser at work on a device: what the tests on strict_cupy and on CuPy share."""

import numpy as np

from minigrad import nn, optim
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
POSITIVE = rng.random((3, 4)) / 2 + 0.25
LABELS, SIGNS = np.array([2, 0, 3]), np.array([1, -1, 1])


def R(*shape):
    return rng.standard_normal(shape)


LAYERS = {  # how it is made, and what it is given
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(3), R(2, 3, 7)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 3)), R(2, 3, 5, 7)),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(3), R(2, 3, 7)),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((2, 3)), R(2, 3, 5, 7)),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), R(2, 3, 6)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), R(2, 3, 6, 4)),
    "BCELoss": (lambda: nn.BCELoss(), POSITIVE, POSITIVE[::-1].copy()),
    "BCEWithLogitsLoss": (lambda: nn.BCEWithLogitsLoss(pos_weight=POSITIVE[0]), R(3, 4), POSITIVE),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), R(5, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), R(2, 3, 4, 5)),
    "CTCLoss": (lambda: nn.CTCLoss(), R(6, 2, 4), np.array([[1, 2], [3, 3]]), np.array([6, 5]), np.array([2, 2])),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2, rng=0), R(2, 4, 7)),
    "Conv2d": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1, rng=0), R(2, 3, 6, 5)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 3, 3, stride=2, rng=0), R(2, 4, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 3, 3, stride=2, rng=0), R(2, 4, 3, 4)),
    "CosineEmbeddingLoss": (lambda: nn.CosineEmbeddingLoss(0.1), R(3, 4), R(3, 4), SIGNS),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), R(3, 4), LABELS),
    "Dropout": (lambda: nn.Dropout(0.4, rng=0), R(7, 9)),
    "Embedding": (lambda: nn.Embedding(5, 3, padding_idx=0, rng=0), np.array([[1, 4, 1], [0, 2, 0]])),
    "Flatten": (lambda: nn.Flatten(), R(2, 3, 4)),
    "GELU": (lambda: nn.GELU(), R(3, 4)),
    "GRU": (lambda: nn.GRU(3, 4, num_layers=2, dropout=0.3, bidirectional=True, rng=0), R(5, 2, 3)),
    "GRUCell": (lambda: nn.GRUCell(3, 4, rng=0), R(2, 3), R(2, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), R(2, 4, 3)),
    "GroupedQueryAttention": (lambda: nn.GroupedQueryAttention(8, 4, 2, rng=0), R(2, 5, 8)),
    "HuberLoss": (lambda: nn.HuberLoss(), R(3, 4), R(3, 4)),
    "KLDivLoss": (lambda: nn.KLDivLoss(), R(3, 4), POSITIVE),
    "L1Loss": (lambda: nn.L1Loss(), R(3, 4), R(3, 4)),
    "LSTM": (lambda: nn.LSTM(3, 4, num_layers=2, dropout=0.3, rng=0), R(5, 2, 3)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4, rng=0), R(2, 3)),
    "LayerNorm": (lambda: nn.LayerNorm(4), R(3, 4)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.1), R(3, 4)),
    "LearnedPositions": (lambda: nn.LearnedPositions(9, 4, rng=0), R(2, 5, 4)),
    "Linear": (lambda: nn.Linear(4, 5, rng=0), R(2, 3, 4)),
    "LogSoftmax": (lambda: nn.LogSoftmax(-1), R(3, 4)),
    "MSELoss": (lambda: nn.MSELoss(), R(3, 4), R(3, 4)),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), R(2, 3, 6)),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), R(2, 3, 6, 5)),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True, rng=0),
        R(2, 5, 8),
        R(2, 4, 8),
        R(2, 4, 8),
    ),
    "NLLLoss": (lambda: nn.NLLLoss(), R(3, 4), LABELS),
    "RMSNorm": (lambda: nn.RMSNorm(4), R(3, 4)),
    "RNN": (lambda: nn.RNN(3, 4, rng=0), R(5, 2, 3)),
    "RNNCell": (lambda: nn.RNNCell(3, 4, rng=0), R(2, 3)),
    "ReLU": (lambda: nn.ReLU(), R(3, 4)),
    "ReLU6": (lambda: nn.ReLU6(), 6 * R(3, 4)),
    "RelativePositionBias": (lambda: nn.RelativePositionBias(2, 8, rng=0), 5, 6),
    "RotaryPositions": (lambda: nn.RotaryPositions(4), R(2, 2, 5, 4)),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 3, rng=0), nn.ReLU()), R(2, 4)),
    "SiLU": (lambda: nn.SiLU(), R(3, 4)),
    "Sigmoid": (lambda: nn.Sigmoid(), R(3, 4)),
    "SinusoidalPositions": (lambda: nn.SinusoidalPositions(4), R(2, 5, 4)),
    "SmoothL1Loss": (lambda: nn.SmoothL1Loss(), R(3, 4), R(3, 4)),
    "Softmax": (lambda: nn.Softmax(-1), R(3, 4)),
    "Softplus": (lambda: nn.Softplus(), R(3, 4)),
    "Tanh": (lambda: nn.Tanh(), R(3, 4)),
    "Transformer": (lambda: nn.Transformer(8, 2, 1, 1, 16, 0.1, batch_first=True, rng=0), R(2, 5, 8), R(2, 4, 8)),
    "TransformerDecoderLayer": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, rng=0, batch_first=True),
        R(2, 5, 8),
        R(2, 4, 8),
    ),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, rng=0, batch_first=True), R(2, 5, 8)),
    "CELU": (lambda: nn.CELU(0.5), R(3, 4)),
    "ELU": (lambda: nn.ELU(0.5), R(3, 4)),
    "GLU": (lambda: nn.GLU(), R(3, 4)),
    "Hardshrink": (lambda: nn.Hardshrink(), R(3, 4)),
    "Hardsigmoid": (lambda: nn.Hardsigmoid(), 3 * R(3, 4)),
    "Hardswish": (lambda: nn.Hardswish(), 3 * R(3, 4)),
    "Hardtanh": (lambda: nn.Hardtanh(-0.5, 0.25), R(3, 4)),
    "LogSigmoid": (lambda: nn.LogSigmoid(), R(3, 4)),
    "Mish": (lambda: nn.Mish(), R(3, 4)),
    "PReLU": (lambda: nn.PReLU(4), R(3, 4)),
    "RReLU": (lambda: nn.RReLU(rng=0), R(3, 4)),
    "SELU": (lambda: nn.SELU(), R(3, 4)),
    "Softmax2d": (lambda: nn.Softmax2d(), R(2, 3, 2, 2)),
    "Softmin": (lambda: nn.Softmin(-1), R(3, 4)),
    "Softshrink": (lambda: nn.Softshrink(), R(3, 4)),
    "Softsign": (lambda: nn.Softsign(), R(3, 4)),
    "Tanhshrink": (lambda: nn.Tanhshrink(), R(3, 4)),
    "Threshold": (lambda: nn.Threshold(0.1, 0.75), R(3, 4)),
    "GaussianNLLLoss": (lambda: nn.GaussianNLLLoss(), R(3, 4), R(3, 4), POSITIVE),
    "HingeEmbeddingLoss": (lambda: nn.HingeEmbeddingLoss(), R(3), SIGNS),
    "MarginRankingLoss": (lambda: nn.MarginRankingLoss(0.1), R(3), R(3), SIGNS),
    "MultiLabelMarginLoss": (lambda: nn.MultiLabelMarginLoss(), R(2, 3), np.array([[2, 0, -1], [1, -1, 0]])),
    "MultiLabelSoftMarginLoss": (lambda: nn.MultiLabelSoftMarginLoss(weight=POSITIVE[0]), R(3, 4), POSITIVE),
    "MultiMarginLoss": (lambda: nn.MultiMarginLoss(2), R(3, 4), LABELS),
    "PoissonNLLLoss": (lambda: nn.PoissonNLLLoss(full=True), R(3, 4), 4 * POSITIVE),
    "SoftMarginLoss": (lambda: nn.SoftMarginLoss(), R(3), SIGNS),
    "TripletMarginLoss": (lambda: nn.TripletMarginLoss(swap=True), R(3, 4), R(3, 4), R(3, 4)),
    "TripletMarginWithDistanceLoss": (lambda: nn.TripletMarginWithDistanceLoss(), R(3, 4), R(3, 4), R(3, 4)),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d((2, 3, 1)), R(2, 3, 4, 5, 3)),
    "AdaptiveMaxPool3d": (lambda: nn.AdaptiveMaxPool3d((2, 3, 1)), R(2, 3, 4, 5, 3)),
    "AlphaDropout": (lambda: nn.AlphaDropout(0.4, rng=0), R(7, 9)),
    "AvgPool3d": (lambda: nn.AvgPool3d(2, 1, 1), R(2, 3, 4, 5, 3)),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(3), R(2, 3, 4, 2, 3)),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(3), R(2, 3, 4, 5)),
    "Conv3d": (lambda: nn.Conv3d(2, 4, 2, padding=1, padding_mode="replicate", rng=0), R(2, 2, 3, 4, 3)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 4, 2, stride=2, rng=0), R(2, 2, 2, 3, 2)),
    "Dropout1d": (lambda: nn.Dropout1d(0.4, rng=0), R(7, 9, 2)),
    "Dropout2d": (lambda: nn.Dropout2d(0.4, rng=0), R(7, 9, 2, 2)),
    "Dropout3d": (lambda: nn.Dropout3d(0.4, rng=0), R(7, 9, 2, 1, 2)),
    "FeatureAlphaDropout": (lambda: nn.FeatureAlphaDropout(0.4, rng=0), R(7, 9, 2)),
    "Identity": (lambda: nn.Identity(), R(3, 4)),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), R(2, 3, 7)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3), R(2, 3, 4, 5)),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(3), R(2, 3, 4, 2, 2)),
    "LPPool1d": (lambda: nn.LPPool1d(2.0, 2), R(2, 3, 6)),
    "LPPool2d": (lambda: nn.LPPool2d(2.0, 2), R(2, 3, 6, 4)),
    "LPPool3d": (lambda: nn.LPPool3d(2.0, 2), R(2, 3, 4, 2, 2)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3, 0.3), R(2, 5, 4)),
    "MaxPool3d": (lambda: nn.MaxPool3d(2, 1, 1), R(2, 3, 4, 5, 3)),
    "Unflatten": (lambda: nn.Unflatten(1, (2, -1)), R(3, 4)),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 2, rng=0), R(5, 3), R(5, 4)),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), R(2, 4, 3)),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(), R(3, 4), R(3, 4)),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(5, 3, mode="max", rng=0), np.array([[1, 4, 1], [0, 2, 0]])),
    "Fold": (lambda: nn.Fold((4, 5), 2, stride=(1, 2)), R(2, 12, 6)),
    "PairwiseDistance": (lambda: nn.PairwiseDistance(), R(3, 4), R(3, 4)),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), R(2, 4, 2, 3)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), R(2, 1, 4, 6)),
    "Unfold": (lambda: nn.Unfold(2, padding=1), R(2, 3, 4, 5)),
    "Upsample": (lambda: nn.Upsample(scale_factor=1.5, mode="bicubic"), R(2, 3, 4, 5)),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(7), R(2, 3, 4, 5)),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=2), R(2, 3, 4, 5)),
    **{
        f"{kind}Pad{axes}d": (
            lambda kind=kind, axes=axes: getattr(nn, f"{kind}Pad{axes}d")(
                (1, 2) * axes, *(0.5,) * (kind == "Constant")
            ),
            R(2, 3, *(4, 3, 3)[:axes]),
        )
        for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")
        for axes in (1, 2, 3)
    },
}
INSIDE_OTHERS = {"Group", "Module", "TransformerEncoder", "TransformerDecoder"}


def tensors(result):
    """All Tensors in what a layer returns."""
    return [result] if isinstance(result, Tensor) else [t for part in result or () for t in tensors(part)]


def run(make, inputs, device):
    """What the layer returns, the gradients of the sum of its squares, and the layer's buffers."""
    layer = make().to(device)
    given = [
        x
        if isinstance(x, int)
        else Tensor(x.astype("f4") if x.dtype.kind == "f" else x, x.dtype.kind == "f", device=device)
        for x in inputs
    ]
    results = tensors(layer(*given))
    if any(y.requires_grad for y in results):
        sum((y * y).sum() for y in results).backward()
    gradients = [x.grad for x in (*layer.parameters(), *given) if isinstance(x, Tensor) and x.grad is not None]
    found = [*results, *gradients, *(t for t in layer.state_dict().values() if isinstance(t, nn.Buffer))]
    assert {t.device for t in found} == {device}
    return [t.numpy() for t in found]


OPTIMIZERS = [
    (optim.SGD, {}),
    (optim.SGD, dict(momentum=0.9, weight_decay=0.1)),
    (optim.SGD, dict(momentum=0.9, nesterov=True)),
    (optim.Adam, dict(weight_decay=0.1)),
    (optim.AdamW, {}),
    (optim.RMSprop, {}),
    (optim.RMSprop, dict(momentum=0.9, centered=True)),
    (optim.Adagrad, dict(lr_decay=0.1)),
    (optim.Adam, dict(amsgrad=True, maximize=True)),
    (optim.NAdam, dict(weight_decay=0.1, decoupled_weight_decay=True)),
    (optim.RAdam, dict(betas=(0.8, 0.7))),
    (optim.Adamax, dict(weight_decay=0.1)),
    (optim.Adadelta, {}),
    (optim.Adafactor, dict(weight_decay=0.1)),
    (optim.ASGD, dict(t0=2, lambd=0.1)),
    (optim.Rprop, {}),
    (optim.Lion, dict(weight_decay=0.1)),
    (optim.Muon, {}),
    (optim.LBFGS, dict(max_iter=3)),
    (optim.LBFGS, dict(max_iter=3, line_search_fn="strong_wolfe")),
]


def weights_after(kind, options, device):
    """The weights after four steps, the norms of the gradients, and what the optimiser keeps.

    LBFGS, which divides differences of gradients by each other, goes down a curve in float64 and without clipping.
    """
    rng, newton = np.random.default_rng(1), kind is optim.LBFGS
    w = nn.Linear(3, 5, rng=0).to(device).to("float64" if newton else "float32").weight
    optimizer = kind([w], lr=0.1, **options)
    given = Tensor(rng.standard_normal((4, 5, 3)).astype("f4"), device=device)
    norms = []

    def closure():
        optimizer.zero_grad()
        loss = ((w - given[0]) ** 4).sum() if newton else (w * given[len(norms)]).sum()
        loss.backward()
        if not newton:
            norms.append(float(optim.clip_grad_norm_([w], 2.0)))
            optim.clip_grad_value_([w], 1.0)
        return loss

    for _ in range(4):
        optimizer.step(closure)
    kept = [v for memory in optimizer.state_dict()["state"].values() for v in memory.values()]
    return [w.numpy(), norms, *(one for v in kept for one in (v if isinstance(v, list) else [v]))]
