"""The layers as functions of Tensors.  Gradients and devices are left to the ops they are made of.

Names, argument order and defaults are those of torch.nn.functional; the losses are imported from `minigrad.losses`.
A backend may have a fused kernel under a definition's name; the tests compare that kernel with the definition.
"""

from ..losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    contrastive_loss,
    cosine_embedding_loss,
    cross_entropy,
    ctc_loss,
    huber_loss,
    info_nce,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from ..ops import embedding, linear, log_softmax, logsigmoid, relu, sigmoid, softmax, softplus, tanh
from ..ops.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from ..ops.window import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from .activations import gelu, leaky_relu, relu6, silu
from .attention import scaled_dot_product_attention
from .dropouts import dropout
from .norms import batch_norm, batch_norm_scale_and_shift, group_norm, layer_norm, rms_norm

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "contrastive_loss",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "embedding",
    "gelu",
    "group_norm",
    "huber_loss",
    "info_nce",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "max_pool1d",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]
