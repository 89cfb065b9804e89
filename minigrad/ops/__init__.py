"""The ops: everything minigrad can differentiate rests on these, and each fits in a few lines.

Rules work on arrays and on Tensors alike, so a gradient can be differentiated again.  Broadcasting is undone by the tape.
"""
from . import numpy_protocol
from .arithmetic import (
    abs,
    add,
    astype,
    broadcast_to,
    divide,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    reshape,
    sign,
    subtract,
    sum,
    sum_to,
    to_device,
    where,
)
from .create import arange, eye, full, full_like, ones, ones_like, zeros, zeros_like
from .elementwise import clip, cos, erf, exp, expm1, log, log1p, logsigmoid, power, relu, sigmoid, sin, softplus, sqrt, tanh
from .index import add_at, check_indices, embedding, gather, pick, put_along, scatter, scatter_add, take
from .linalg import einsum, linear, matmul
from .order import argsort, cumsum, sort, topk
from .random import dropout, generator, keep_mask
from .reduce import all, any, argmax, log_softmax, logsumexp, max, mean, min, norm, prod, softmax, std, var
from .shape import (
    concatenate,
    expand_dims,
    flatten,
    flip,
    pad,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
    tril,
    triu,
)

__all__ = ["abs", "all", "any", "arange", "argmax", "argsort", "astype", "broadcast_to", "clip", "concatenate", "cos",
           "cumsum", "divide", "einsum", "erf", "exp", "expand_dims", "expm1", "eye", "flatten", "flip", "full",
           "full_like", "gather", "log", "log1p", "log_softmax", "logsigmoid", "logsumexp", "matmul", "max",
           "maximum", "mean", "min", "minimum", "norm", "ones", "ones_like", "pad", "prod", "relu", "reshape",
           "scatter", "scatter_add", "sigmoid", "sign", "sin", "softmax", "softplus", "sort", "split", "sqrt",
           "squeeze", "stack", "std", "sum", "swapaxes", "take", "tanh", "tile", "topk", "transpose", "tril", "triu",
           "var", "where", "zeros", "zeros_like"]
