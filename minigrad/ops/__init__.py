"""The ops: everything minigrad can differentiate rests on these, and each fits in a few lines.

Rules work on arrays and on Tensors alike, so a gradient can be differentiated again.  Broadcasting is undone by the
tape.  To add an op, write it here and give it a row in checking/catalogue: see CONTRIBUTING.md.
"""

from importlib import import_module
from typing import Any

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
from .create import arange, eye, full, full_like, linspace, logspace, ones, ones_like, zeros, zeros_like
from .elementwise import (
    clip,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    logsigmoid,
    power,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)
from .index import add_at, check_indices, embedding, gather, pick, put_along, scatter, scatter_add, take
from .linalg import einsum, linear, matmul
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

__all__ = [
    "abs",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "astype",
    "broadcast_to",
    "clip",
    "concatenate",
    "cos",
    "divide",
    "einsum",
    "equal",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "flatten",
    "flip",
    "full",
    "full_like",
    "gather",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "linspace",
    "log",
    "log1p",
    "log_softmax",
    "logsigmoid",
    "logspace",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "norm",
    "not_equal",
    "ones",
    "ones_like",
    "pad",
    "power",
    "prod",
    "relu",
    "reshape",
    "scatter",
    "scatter_add",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "tanh",
    "tile",
    "transpose",
    "tril",
    "triu",
    "var",
    "where",
    "zeros",
    "zeros_like",
]

# The rooms that are read when one of their ops is first used, so that `import minigrad` takes no longer.
LATER = {
    name: room
    for room, names in {
        "diagonals": "block_diag diag diag_embed diagflat diagonal trace tril_indices triu_indices",
        "draw": "bernoulli multinomial rand rand_like randint randn randn_like randperm",
        "logic": """
            allclose argwhere array_equal count_nonzero fmax fmin isclose isfinite isin isinf isnan isneginf isposinf
            logical_and logical_not logical_or logical_xor nan_to_num nonzero signbit
            """,
        "order": "argsort cumsum sort topk",
        "pieces": """
            atleast_1d atleast_2d atleast_3d chunk column_stack dsplit dstack hsplit hstack tensor_split unbind vsplit
            vstack
            """,
        "powers": """
            addcdiv addcmul copysign exp2 float_power heaviside ldexp lerp log10 log2 logaddexp logaddexp2 logit
            reciprocal rsqrt square xlogy
            """,
        "products": "addbmm addmm addmv addr baddbmm cdist cross dist dot inner kron outer tensordot vdot vecdot",
        "rearrange": """
            broadcast_arrays broadcast_shapes cartesian_prod combinations fliplr flipud meshgrid moveaxis ravel repeat
            roll rot90 unflatten unfold
            """,
        "rounding": "ceil div floor floor_divide fmod frac remainder round trunc",
        "scans": "cummax cummin cumprod cumulative_trapezoid diff logcumsumexp trapezoid",
        "select": """
            bincount bucketize index_add index_copy index_fill index_select masked_fill masked_select searchsorted
            take_along_axis unique
            """,
        "special": "digamma erfc erfinv lgamma mvlgamma polygamma",
        "statistics": """
            aminmax argmin corrcoef cov kthvalue median mode nanmean nanmedian nanquantile nansum quantile
            """,
        "trigonometry": """
            arccos arccosh arcsin arcsinh arctan arctan2 arctanh cosh deg2rad hypot rad2deg sinc sinh tan
            """,
    }.items()
    for name in names.split()
}
TORCH_NAMES = {  # what torch calls otherwise
    "absolute": "abs",
    "acos": "arccos",
    "acosh": "arccosh",
    "amax": "max",
    "amin": "min",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "bmm": "matmul",
    "broadcast_tensors": "broadcast_arrays",
    "cat": "concatenate",
    "concat": "concatenate",
    "eq": "equal",
    "fix": "trunc",
    "ge": "greater_equal",
    "gt": "greater",
    "le": "less_equal",
    "lt": "less",
    "mm": "matmul",
    "movedim": "moveaxis",
    "mul": "multiply",
    "mv": "matmul",
    "ne": "not_equal",
    "neg": "negative",
    "permute": "transpose",
    "pow": "power",
    "repeat_interleave": "repeat",
    "sgn": "sign",
    "sub": "subtract",
    "swapdims": "swapaxes",
    "take_along_dim": "take_along_axis",
    "trapz": "trapezoid",
    "true_divide": "divide",
    "unsqueeze": "expand_dims",
}


def __getattr__(name: str) -> Any:
    if name in TORCH_NAMES:
        name = TORCH_NAMES[name]
        return globals()[name] if name in globals() else __getattr__(name)
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{LATER[name]}", __name__), name)
