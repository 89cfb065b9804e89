"""The ops: everything minigrad can differentiate rests on these, and each fits in a few lines.

Rules work on arrays and on Tensors alike, so a gradient can be differentiated again.  Broadcasting is undone by the tape.
"""
from .arithmetic import (
    abs,
    add,
    astype,
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
    power,
    sign,
    subtract,
    to_device,
    where,
)
from .create import arange, eye, full, full_like, ones, ones_like, zeros, zeros_like
from .elementwise import clip, cos, erf, exp, log, relu, sigmoid, sin, softplus, sqrt, tanh
from .index import check_indices, embedding, gather, put_along, scatter_add, take
from .linalg import einsum, linear, matmul
from .random import dropout, generator
from .reduce import argmax, log_softmax, logsumexp, max, mean, min, softmax, sum, sum_to, var
from .shape import broadcast_to, concatenate, expand_dims, flatten, reshape, split, squeeze, stack, swapaxes, transpose


__all__ = ["abs", "arange", "argmax", "astype", "broadcast_to", "clip", "concatenate", "cos", "divide", "einsum", "erf", "exp",
           "expand_dims", "eye", "flatten", "full", "full_like", "gather", "log", "log_softmax", "logsumexp", "matmul", "max",
           "maximum", "mean", "min", "minimum", "ones", "ones_like", "relu", "reshape", "sigmoid", "sign", "sin", "softmax", "split",
           "sqrt", "squeeze", "stack", "sum", "swapaxes", "take", "tanh", "transpose", "var", "where", "zeros", "zeros_like"]
