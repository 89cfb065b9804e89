"""PyTorch's own catalogue, put to minigrad: every op, module and optimiser that torch's wheel describes and minigrad
has.

torch.testing._internal lists, for torch's own tests, sample inputs of each op with its arguments, and inputs that must
raise an error.  Here each sample goes to torch and to ours, which must give the same values, dtypes, shapes and
gradients, or refuse with an error.  An argument that is not supported is refused, never ignored, and what torch refuses
is refused here.

    python -m tests.parity.torch_catalogue                   # the tables: each entry's samples, equal, refused, wrong;
                                                             # and by room, what is here and what is said of the rest
    python -m tests.parity.torch_catalogue sum nn.Linear     # these entries only, with every sample, and what was
                                                             # refused and why
    python -m tests.parity.torch_catalogue --every           # every sample of every entry (several minutes)
"""

from __future__ import annotations

import copy
import functools
import math
import random
import re
import sys
import types
import unittest
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import torch

if "expecttest" not in sys.modules:  # torch's test helpers derive from its TestCase, which nothing here uses
    sys.modules["expecttest"] = types.ModuleType("expecttest")
    sys.modules["expecttest"].TestCase = unittest.TestCase
from torch.testing._internal import common_utils  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.common_modules import module_db  # noqa: E402
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db  # noqa: E402
from torch.testing._internal.opinfo import core  # noqa: E402

import minigrad as mg  # noqa: E402
from minigrad import functional, nn, optim, schedule  # noqa: E402

# Torch's own tests forbid settings such as torch.backends.cudnn.allow_tf32 for the whole process: allow them again.
torch.backends.flags_frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True

# Torch looks for its own test among all frames of the stack and reads their sources, which takes most of the time.
core.extract_test_fn = common_utils.extract_test_fn = lambda: None

REFUSALS = (TypeError, ValueError, IndexError, RuntimeError)  # of ours: any other error is a fault
# dtypes to test, and how far a result may be from torch's
DTYPES = {
    torch.float64: 1e-9,
    torch.float32: 3e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
    torch.int64: 0,
    torch.bool: 0,
    torch.int32: 0,
    torch.uint8: 0,
    torch.complex64: 3e-5,
}
# how many of an entry's samples are drawn; else 2
SAMPLES = {torch.float64: 8, torch.float32: 3, torch.int64: 3, "module": 20}

NUMPY_NAMES = {  # torch's name, where ours is NumPy's and torch has no alias of that name
    "amax": "max",
    "amin": "min",
    "bmm": "matmul",
    "cat": "concatenate",
    "eq": "equal",
    "mm": "matmul",
    "mv": "matmul",
    "ne": "not_equal",
    "permute": "transpose",
    "pow": "power",
    "unsqueeze": "expand_dims",
}

# Entries that are called otherwise here, because the arguments are NumPy's or because the catalogue has an order of its
# own.
CALLS: dict[str, Callable] = {
    "clamp": lambda x, min=None, max=None, **more: mg.clip(x, min, max, **more),
    "broadcast_shapes": lambda *shapes: torch.Size(mg.broadcast_shapes(*shapes)),
    "bucketize": lambda x, boundaries, out_int32=False, right=False: mg.bucketize(x, boundaries, right=right).to(
        "int32" if out_int32 else "int64"
    ),
    "cdist": lambda a, b, p=2.0, compute_mode=None: mg.cdist(a, b, p),
    "equal": lambda a, b: mg.array_equal(a, b),
    "einsum": lambda xs, subscripts: mg.einsum(subscripts, *xs),
    "flip": lambda x, dims: mg.flip(x, dims),
    "linalg.lstsq": lambda a, b, driver=None: mg.linalg.lstsq(a, b),
    "linalg.lstsq.grad_oriented": lambda a, b, driver=None: mg.linalg.lstsq(a, b)[:2],
    "linalg.pinv.singular": lambda a, b: mg.linalg.pinv(a @ b.mT),
    "max.reduction_with_dim": lambda x, dim, keepdim=False: (mg.max(x, dim, keepdim), mg.argmax(x, dim, keepdim)),
    "min.reduction_with_dim": lambda x, dim, keepdim=False: (
        mg.min(x, dim, keepdim),
        mg.argmax(-x.to("float64"), dim, keepdim),
    ),
    "median": lambda x, *along, **dim: lower_median(x, *along, **dim),
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: mg.nan_to_num(
        x, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf
    ),
    "nanmedian": lambda x, *along, **dim: lower_median(x, *along, **dim),
    "nn.functional.embedding": lambda weight, ids, **options: functional.embedding(ids, weight, **options),
    "nn.functional.embedding_bag": lambda weight, ids, *offsets, **options: functional.embedding_bag(
        ids, weight, *offsets, **options
    ),
    "nn.functional.triplet_margin_with_distance_loss": lambda *xs, distance_function=None, **options: (
        functional.triplet_margin_with_distance_loss(*xs, distance_function=functional.pairwise_distance, **options)
    ),
    **{f"polygamma.polygamma_n_{n}": lambda x, n: mg.polygamma(n, x) for n in range(5)},
    "repeat": lambda x, *repeats: mg.tile(x, repeats[0] if isinstance(repeats[0], tuple) else repeats),
    "repeat_interleave": lambda x, repeats, dim=None, output_size=None: mg.repeat(x, repeats, dim),
    "searchsorted": lambda line, values, *, out_int32=False, **options: mg.searchsorted(line, values, **options).to(
        "int32" if out_int32 else "int64"
    ),
    "std": lambda x, dim=None, *, correction=1, keepdim=False: mg.std(x, dim, keepdim=keepdim, correction=correction),
    "tril_indices": lambda n, m, offset=0, **more: triangle(mg.tril_indices, n, m, offset, **more),
    "triu_indices": lambda n, m, offset=0, **more: triangle(mg.triu_indices, n, m, offset, **more),
    "unique": lambda x, sorted=True, **options: mg.unique(x, **options),
    "var": lambda x, dim=None, *, correction=1, keepdim=False: mg.var(x, dim, keepdim=keepdim, correction=correction),
    "where": lambda x, condition, other: mg.where(condition, x, other),
}


def lower_median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """torch.median, of an even number of entries the lower of the two in the middle, by our kthvalue."""
    if dim is None:
        return mg.kthvalue(mg.flatten(x), (x.size + 1) // 2)[0]
    return mg.kthvalue(x, ((x.shape[dim] if x.ndim else 1) + 1) // 2, dim, keepdim)


def triangle(make: Callable, n: int, m: int, offset: int = 0, dtype: Any = "int64", device: str = "cpu") -> Any:
    """Indices of a triangle as one matrix, as torch has them."""
    return mg.stack(make(n, m=m, offset=offset)).to(dtype)


# Arguments that ours does not have, at the value at which torch's do nothing: they are left out of the call.
NEUTRAL = {
    "add_bias_kv": False,
    "add_zero_attn": False,
    "memory_format": torch.preserve_format,
    "layout": torch.strided,
    "return_indices": False,
    "max_norm": None,
    "scale_grad_by_freq": False,
    "sparse": False,
    "pin_memory": False,
    "sparse_grad": False,
}
RANDOM = {
    "nn.functional.rrelu",
    "bernoulli",
    "multinomial",
    *(f"nn.functional.{kind}dropout" for kind in ("", "alpha_", "feature_alpha_")),
    "nn.functional.dropout2d",
    "nn.functional.dropout3d",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
}  # what is drawn cannot be compared

ORDER = "of equal entries the first comes first; torch leaves their order open"
# What differs on purpose: the entries, the beginning of what is found, and the reason.
DIFFERENCES: list[tuple[str, str, str]] = [
    ("all any", "dtype: bool instead of uint8", "a question is answered by booleans"),
    (
        "nn.functional.ctc_loss nn.CTCLoss",
        "gradient",
        "by log_probs itself; torch's is right only behind a log_softmax",
    ),
    ("topk sort kthvalue median mode", "value of result 1", ORDER),
    ("trapz trapezoid cumulative_trapezoid", "value", "torch adds numbers of 8 bits in 8 bits, where they wrap"),
    (
        "cholesky_solve linalg.pinv.hermitian",
        "gradient",
        "what is not read, the other triangle of the factor, has no gradient",
    ),
    ("linalg.cross", "accepts: inputs must have the same number", "axes are put in front, as everywhere"),
    *(
        ("linalg.norm.subgradients_at_zero", what, "the second derivative of a norm at 0 does not exist")
        for what in ("raises ValueError: svd: two singular values are equal", "gradient of order 2")
    ),
    *(
        ("div.trunc_rounding", f"value in {dtype}", "torch rounds the quotient to 16 bits before it is cut off")
        for dtype in ("float16", "bfloat16")
    ),
    (
        "linalg.lstsq linalg.lstsq.grad_oriented",
        "shape: value of result",
        "which results torch leaves empty depends on the routine of LAPACK",
    ),
    ("linalg.lstsq", "gradient", "torch has no singular values to differentiate"),
    ("cov", "value", "torch adds up weights of 32 bits in 32 bits"),
    ("cov", "dtype", "the result has the dtype of the observations, not of their weights"),
    ("matrix_exp", "value", "16 bits are computed in float32; torch loses digits, or finds NaN"),
    ("trace", "accepts: expected a matrix", "of more axes the first two have the diagonal, as in NumPy"),
    ("argsort", "value", ORDER),
    ("arange", "accepts: upper bound", "no entries, as in NumPy"),
    (
        "nn.functional.avg_pool1d nn.functional.avg_pool2d nn.functional.avg_pool3d",
        "dtype: float32 instead of int64",
        "a mean of whole numbers is none",
    ),
    ("mean", "accepts: mean", "a mean of whole numbers is float32"),
    (
        "nn.functional.max_pool1d",
        "accepts: Expected 2D or 3D",
        "of no channels there is nothing to pool, which is no error",
    ),
    (
        "nn.functional.max_pool3d",
        "accepts: Expected input",
        "of no channels there is nothing to pool, which is no error",
    ),
    ("scatter scatter_add", "accepts: Expected self.dtype", "dtypes are promoted as everywhere"),
    ("nn.NLLLoss", "accepts: expected scalar type", "the class weights take the input's dtype"),
    (
        "matmul mm bmm mv __rmatmul__ einsum nn.functional.linear scatter_add addmm addmm.decomposed addmv addbmm "
        "baddbmm dot vdot inner tensordot addr linalg.vecdot linalg.multi_dot linalg.matrix_power index_add cross "
        "linalg.cross",
        "dtype: int64 instead of",
        "whole numbers are added up in int64, as by sum; in their own dtype they would wrap around",
    ),
    (
        "nn.BatchNorm1d nn.BatchNorm2d nn.BatchNorm3d",
        "accepts: eps must be positive",
        "an eps of 0 is what a variance above 0 needs",
    ),
    ("nn.RNN nn.GRU nn.LSTM", "accepts: input_size", "what has no features can be read: the biases act"),
    *(
        (f"nn.functional.{name}", f"value in {dtype}", "computed in float32; torch's 16 bits overflow, or lose digits")
        for name in ("soft_margin_loss", "poisson_nll_loss", "hinge_embedding_loss", "grid_sample")
        for dtype in ("float16", "bfloat16")
    ),
    *(
        (f"nn.functional.{name}", "value in uint8", "whole numbers become floats first; torch's wrap around")
        for name in ("margin_ranking_loss", "triplet_margin_loss", "pairwise_distance")
    ),
    ("nn.functional.triplet_margin_with_distance_loss", "value in uint8", "whole numbers become floats first"),
    *(
        ("nn.functional.local_response_norm", what, "a quotient of whole numbers is none")
        for what in ("dtype: float32", "value in int64")
    ),
    (
        "nn.functional.interpolate.bilinear nn.functional.interpolate.bicubic",
        "dtype: float32 instead of uint8",
        "a mean of whole numbers is none",
    ),
    ("nn.functional.bilinear", "dtype: int64", "sums of whole numbers are added up in 64 bits, as in NumPy"),
    ("nn.functional.hardsigmoid", "gradient", "torch divides by six in float32"),
    ("nn.functional.hardtanh", "dtype: float32", "bounds that are not whole make a result that is not"),
    ("nn.HuberLoss", "accepts: delta must be", "a loss looks at its options when it is called"),
    *(
        (f"optim.{name}", "accepts: params argument", "a single Tensor is one parameter")
        for name in (
            *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam"),
            *("RAdam", "RMSprop", "Rprop", "SGD"),
        )
    ),
]
# What is known to be wrong still, and why.
KNOWN: dict[str, str] = {}


@dataclass
class Row:
    """What became of the samples of one entry."""

    name: str
    way: str = ""  # how ours is written
    samples: int = 0
    equal: int = 0
    refused: Counter = field(default_factory=Counter)  # samples that ours refused, by the error's words
    wrong: Counter = field(default_factory=Counter)
    differs: Counter = field(default_factory=Counter)  # on purpose

    def take(self, ours: Callable[[], Any]) -> None:
        """Run ours, which returns None if all is equal, or what is wrong."""
        self.samples += 1
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                fault = ours()
        except Refused as error:
            self.refused[error.args[0]] += 1
            return
        except Exception as error:
            fault = f"raises {told(error)}"
        if not fault:
            self.equal += 1
            return
        reasons = [why for names, what, why in DIFFERENCES if self.name in names.split() and fault.startswith(what)]
        (self.differs if reasons else self.wrong)[reasons[0] if reasons else fault] += 1

    def __str__(self) -> str:
        counts = (self.samples, self.equal, self.refused.total(), self.differs.total(), self.wrong.total())
        return f"{self.name:<52.52} {self.way:<30.30}" + "".join(f"{n or '.':>9}" for n in counts)


class Refused(Exception):
    """Ours raised an error of the kinds that a user is meant to see."""


def told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:150]


def no(what: str) -> None:
    raise TypeError(f"{what} is not an option of ours")


def refusing(call: Callable, *args: Any, **kwargs: Any) -> Any:
    """call(…), where an error that a user is meant to see becomes a Refused."""
    kwargs = {name: value for name, value in kwargs.items() if name not in NEUTRAL or value != NEUTRAL[name]}
    try:
        return call(*args, **kwargs)
    except REFUSALS as error:
        raise Refused(told(error)) from error


# From torch to here.


def mapped(value: Any, change: Callable) -> Any:
    """`value` with every leaf of its lists, tuples and dicts changed."""
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        changed = [mapped(item, change) for item in value]
        return changed if isinstance(value, list) else tuple(changed)
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(mapped(item, change) for item in (value.start, value.stop, value.step)))
    return change(value)


def leaves(value: Any, kind: type) -> list:
    """All of that kind in nested lists, tuples and dicts, in order."""
    found: list = []
    mapped(value, lambda item: found.append(item) if isinstance(item, kind) else None)
    return found


def cut_off(value: Any) -> Any:
    """A torch tensor as a leaf of a graph of its own."""
    return value.detach().requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value


def to_ours(value: Any) -> Any:
    """A tensor as a Tensor over the same memory, in the same layout; torch's dtypes, sizes and devices in our words."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().resolve_conj().resolve_neg()
        array = (
            plain.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if value.dtype == torch.bfloat16 else plain.numpy()
        )
        return mg.Tensor(array, requires_grad=value.requires_grad)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.Size):
        return tuple(value)
    return value


def array_of(value: Any) -> np.ndarray:
    """Numbers of either library, exactly."""
    if isinstance(value, torch.Tensor):
        value = value.detach().clone()  # (a tensor of zeros that torch has not laid down yet is laid down)
        return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
    array = value.numpy() if isinstance(value, mg.Tensor) else np.asarray(value)
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array


# Comparing.


def compared(ours: Any, theirs: Any, noise: float, what: str = "value") -> str | None:
    """What is wrong with ours, or None."""
    ours, theirs = ([x for x in leaves(result, object) if x is not None] for result in (ours, theirs))
    if len(ours) != len(theirs):
        return f"{what}: {len(ours)} results instead of {len(theirs)}"
    for i, (mine, right) in enumerate(zip(ours, theirs, strict=True)):
        place = f"{what} of result {i}" if i else what
        if isinstance(right, torch.Tensor):
            dtype = str(right.dtype).removeprefix("torch.")
            if not isinstance(mine, mg.Tensor):
                return f"{place}: a {type(mine).__name__} instead of a Tensor"
            if mine.dtype.name != dtype:
                return f"dtype: {mine.dtype.name} instead of {dtype}"
            noise = max(noise, DTYPES.get(right.dtype, 0))  # (of whole numbers it may be floating)
        mine, right = array_of(mine), array_of(right)
        if mine.shape != right.shape:
            return f"shape: {place} {mine.shape} instead of {right.shape}"
        # in 16 bits, of a sum
        scale = max(1, np.nan_to_num(np.abs(right), posinf=0).max(initial=0)) if 1e-3 < noise else 1
        if not np.allclose(mine, right, noise, noise * scale, equal_nan=True):
            return f"{place}: {short(mine)} instead of {short(right)}"
    return None


def short(array: np.ndarray) -> str:
    return np.array2string(array.ravel()[:6], precision=5, separator=", ", max_line_width=200)


def weighted(results: list) -> Any:
    """One number that every entry of the results takes part in with a weight of its own, for either library."""
    total = None
    for result in results:
        weights = np.cos(np.arange(math.prod(result.shape))).reshape(tuple(result.shape))
        part = (result * (torch.from_numpy(weights) if isinstance(result, torch.Tensor) else mg.Tensor(weights))).sum()
        total = part if total is None else total + part
    return total


def gradients(results: Any, inputs: list, order: int) -> list[list] | None:
    """Gradients of `weighted` results by the inputs, up to the order; None where nothing has a gradient."""
    kind = torch.Tensor if isinstance(inputs[0], torch.Tensor) else mg.Tensor
    found = []
    for _ in range(order):
        results = [y for y in leaves(results, kind) if y.requires_grad]
        if not results:
            break
        if kind is torch.Tensor:
            results = torch.autograd.grad(
                weighted(results), inputs, create_graph=True, allow_unused=True, materialize_grads=True
            )
        else:
            results = mg.grad(weighted(results), inputs, create_graph=True)
        found.append(list(results))
    return found


def differentiated(
    ours: Any, theirs: Any, our_inputs: list, their_inputs: list, order: int, noise: float
) -> str | None:
    """What is wrong with the gradients of ours, or None."""
    pairs = [(a, b) for a, b in zip(our_inputs, their_inputs, strict=True) if b.requires_grad]
    if not pairs:
        return None
    our_inputs, their_inputs = ([pair[i] for pair in pairs] for i in range(2))
    try:
        right = gradients(theirs, their_inputs, order)
    except Exception:  # torch has no such gradient
        return None
    found = gradients(ours, our_inputs, len(right))
    found += [[mg.zeros_like(x) for x in our_inputs]] * (len(right) - len(found))
    for i, (mine, other) in enumerate(zip(found, right)):
        if fault := compared(mine, other, noise * 10**i, f"gradient of order {i + 1}"):
            return fault
    return None


def some(samples: list, kind: torch.dtype | str, every: bool) -> list:
    """The samples that are tried: all, or a few, the same in every run."""
    count = SAMPLES.get(kind, 2)
    return samples if every or len(samples) <= count else random.Random(0).sample(samples, count)


# The ops.


def ways(op: Any) -> dict[str, Callable]:
    """All that bears the entry's name here: {how it is written: what to call}."""
    found: dict[str, Callable] = {}
    for name in [op.name, *(alias.name for alias in op.aliases), NUMPY_NAMES.get(op.name, "")]:
        layer = name.removeprefix("nn.functional.")
        rooms = {"F": functional} if layer != name else {"mg": mg, "x": mg.Tensor}
        for short_name, room in rooms.items():
            try:
                thing = functools.reduce(getattr, layer.split("."), room)
            except AttributeError:
                continue
            if callable(thing):
                found.setdefault(f"{short_name}.{layer}", thing)
            elif isinstance(thing, property):
                found.setdefault(f"{short_name}.{layer}", thing.fget)
    sign = getattr(op, "operator_variant", None)
    if sign is not None and hasattr(mg.Tensor, f"__{sign.__name__.strip('_')}__"):
        found[f"operator.{sign.__name__}"] = sign
    return found


def op_rows(every: bool = False, chosen: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """A row for each entry of op_db, and each way to write it here; one row of no samples where there is none."""
    for op in op_db:
        name = f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name
        if chosen(name) and op.name not in RANDOM:
            found = {"(see CALLS)": CALLS[name]} if name in CALLS else ways(op)
            yield from (
                (op_row(Row(name, way), op, call, every) for way, call in found.items()) if found else [Row(name)]
            )


def op_row(row: Row, op: Any, call: Callable, every: bool) -> Row:
    for dtype, noise in DTYPES.items():
        if not op.supports_dtype(dtype, "cpu"):
            continue
        wanted = dtype == torch.float64 and op.supports_autograd
        torch.manual_seed(0)
        samples = list(op.sample_inputs("cpu", dtype, requires_grad=wanted))
        for i, sample in enumerate(some(samples, dtype, every)):
            if sample.kwargs.get("dropout_p"):  # what is drawn cannot be compared
                continue
            sample = sample.noncontiguous() if i % 2 else sample
            given = mapped((sample.input, sample.args, sample.kwargs), cut_off)
            try:
                right = op.op(given[0], *given[1], **given[2])
            except Exception:
                continue
            right = sample.output_process_fn_grad(right)  # of what is open, such as signs of singular vectors
            order = 2 if op.supports_gradgrad and i < 3 else 1

            def ours(sample=sample, given=given, right=right, wanted=wanted, order=order, noise=noise, dtype=dtype):
                mine = refusing(mapped, given, to_ours)
                result = refusing(call, mine[0], *mine[1], **mine[2])
                result = sample.output_process_fn_grad(result)
                fault = compared(result, right, noise)
                if fault and fault.startswith("value:"):
                    fault = f"value in {str(dtype).removeprefix('torch.')}: {fault[7:]}"
                return (
                    fault
                    or wanted
                    and differentiated(
                        result, right, leaves(mine, mg.Tensor), leaves(given, torch.Tensor), order, noise
                    )
                )

            row.take(ours)
    torch.manual_seed(0)
    for error in op.error_inputs("cpu") if op.error_inputs_func else ():
        given = error.sample_input
        if not error.error_regex:  # a plain number for a tensor, which some ops of torch refuse and NumPy's never
            continue
        given = (given.input, given.args, given.kwargs)

        def accepted(given=given, error=error):
            mine = refusing(mapped, given, to_ours)
            refusing(call, mine[0], *mine[1], **mine[2])
            return f"accepts: {error.error_regex}"

        row.take(accepted)
    return row


# The modules.


def module_rows(every: bool = False, chosen: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """A row for each entry of module_db; of no samples where there is no such module here."""
    for info in module_db:
        name = info.module_cls.__name__
        if chosen(f"nn.{name}"):
            ours = getattr(nn, name, None)
            yield (
                module_row(Row(f"nn.{name}", f"nn.{name}" if ours else ""), info, ours, every)
                if ours
                else Row(f"nn.{name}")
            )


def module_row(row: Row, info: Any, ours: type, every: bool) -> Row:
    for training in (True, False):
        torch.manual_seed(0)
        samples = info.module_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
        )
        for sample in some(samples, "module", every):
            row.take(functools.partial(same_module, info.module_cls, ours, sample, training))
    for error in (
        info.module_error_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=False, training=False)
        if info.module_error_inputs_func
        else ()
    ):

        def accepted(error=error):
            made = mapped_call(ours, error.module_error_input.constructor_input).to("float64")
            if error.module_error_input.forward_input is not None:
                # some options are looked at when it is called
                mapped_call(made, error.module_error_input.forward_input)
            return f"accepts: {error.error_regex}"

        row.take(accepted)
    return row


def mapped_call(call: Callable, given: Any) -> Any:
    """call(…) with torch's arguments in our words."""
    args, kwargs = refusing(mapped, (given.args, given.kwargs), to_ours)
    return refusing(call, *args, **kwargs)


def same_module(theirs: type, ours: type, sample: Any, training: bool) -> str | None:
    """Weights copied over, then outputs, gradients and buffers."""
    torch.manual_seed(0)
    made, forward = sample.constructor_input, sample.forward_input
    reference = theirs(*copy.deepcopy(made.args), **copy.deepcopy(made.kwargs)).double().train(training)
    mine = mapped_call(ours, made).to("float64").train(training)
    for p in reference.parameters():
        torch.nn.init.normal_(p)
    if (names := set(reference.state_dict())) != set(mine.state_dict()):
        return f"state dict: {sorted(names ^ set(mine.state_dict()))} on one side only"
    mine.load_state_dict(reference.state_dict())
    given = mapped((forward.args, forward.kwargs), cut_off)
    torch.manual_seed(0)
    right = reference(*given[0], **given[1])
    args, kwargs = refusing(mapped, given, to_ours)
    result = refusing(mine, *args, **kwargs)
    parameters = dict(mine.named_parameters())
    named = dict(reference.named_parameters())
    buffers = [mine.state_dict()[name] for name, _ in reference.named_buffers()]
    return (
        compared(result, right, 1e-9)
        or compared(buffers, list(reference.buffers()), 1e-9, "buffer")
        or differentiated(
            result,
            right,
            leaves((args, kwargs), mg.Tensor) + [parameters[name] for name in named],
            leaves(given, torch.Tensor) + list(named.values()),
            1,
            1e-9,
        )
    )


# The optimisers and schedules.

STEPS = 20
OPTIM_NOISE = {  # where torch computes, or keeps the numbers of its state, in fewer digits
    "Muon": 1e-3,  # in bfloat16
    "ASGD": 1e-6,  # eta and mu in float32
    "NAdam": 1e-6,  # the product of all mu in float32
    "LBFGS": 1e-6,  # (curvatures are quotients of small differences, in which roundings grow)
}
START = [np.linspace(-1, 1, 6).reshape(2, 3), np.array([2.0]), np.linspace(0.5, 3, 4)]


def target(x: Any, y: Any, z: Any) -> Any:
    """A function of three parameters to go down, in either library."""
    return (x * x).sum() + (y * x).sum() + ((z - 1) ** 4).sum() + (z.sum() * y).sum()


def bowl(x: Any, y: Any, z: Any) -> Any:
    """A function with a minimum, for an optimiser that goes as far as it can."""
    return (x * x).sum() + ((y - 1) ** 2).sum() + ((z - 1) ** 4).sum() + 0.1 * (x.sum() * y + z.sum() * y).sum()


def trajectory(make: Callable, leaf: Callable, change: Callable | None = None) -> list[np.ndarray]:
    """The parameters, in two groups of which one has half the rate, after each of some steps; and the rates, if they
    change.
    """
    xs = [leaf(x) for x in START]
    optimizer = make(xs)
    scheduler = change(optimizer) if change else None
    found = []

    def closure():
        optimizer.zero_grad()
        loss = (bowl if type(optimizer).__name__ == "LBFGS" else target)(*xs)
        loss.backward()
        return loss

    for step in range(STEPS):
        optimizer.step(closure)
        if scheduler is not None:
            scheduler.step(*[float(step % 7)] * ("Plateau" in type(scheduler).__name__))
        found += [np.array(array_of(x)) for x in xs]
        found += [np.array([group["lr"] for group in optimizer.param_groups])] * (scheduler is not None)
    return found


def their_leaf(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(x, requires_grad=True)


def our_leaf(x: np.ndarray) -> mg.Tensor:
    return mg.Tensor(x.copy(), requires_grad=True)


def grouped(kind: type, options: dict) -> Callable:
    """Makes an optimiser of two groups; of one where there can be no more, and of matrices where it wants those."""

    def make(xs):
        if kind.__name__ == "LBFGS":
            return kind(xs, **options)
        if kind.__name__ == "Muon":
            return kind(xs[:1], **options)
        groups = [{"params": xs[:2]}, {"params": xs[2:], "lr": float(options.get("lr", 1e-3)) / 2}]
        return kind(groups, **options)

    return make


def optim_rows(every: bool = False, chosen: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """A row for each entry of optim_db; of no samples where there is no such optimiser here."""
    for info in optim_db:
        name = info.optim_cls.__name__
        if chosen(f"optim.{name}"):
            ours = getattr(optim, name, None)
            yield optim_row(Row(f"optim.{name}", f"optim.{name}"), info, ours) if ours else Row(f"optim.{name}")


def optim_row(row: Row, info: Any, ours: type) -> Row:
    options = [sample.kwargs for sample in info.optim_inputs_func("cpu", torch.float64)]
    implementations = ({}, {"foreach": True}, {"fused": True}, {"differentiable": True}, {"capturable": True})
    for extra in [*options, *implementations[1:]]:
        try:
            right = trajectory(grouped(info.optim_cls, dict(extra)), their_leaf)
        except Exception:  # this one cannot be had on a CPU
            continue

        def ours_moves(extra=extra, right=right):
            mine = mapped(extra, to_ours)
            found = trajectory(lambda xs: refusing(grouped(ours, mine), xs), our_leaf)
            return compared(found, right, OPTIM_NOISE.get(ours.__name__, 1e-9), f"trajectory with {extra}")

        row.take(ours_moves)
    for error in info.optim_error_inputs_func("cpu", torch.float64):
        sample = error.optimizer_error_input

        def accepted(sample=sample, error=error):
            params = (
                [torch.randn(2, 3, dtype=torch.float64, requires_grad=True)] if sample.params is None else sample.params
            )
            same = functools.cache(to_ours)  # one tensor given twice is one Tensor given twice
            made = refusing(ours, refusing(mapped, params, same), **mapped(sample.kwargs, to_ours))
            if error.error_on == OptimizerErrorEnum.STEP_ERROR:
                refusing(made.step)
            return f"accepts: {error.error_regex}"

        row.take(accepted)
    return row


SCHEDULES = [  # torch has no catalogue of these: every schedule, every option
    ("LambdaLR", {"lr_lambda": lambda step: 0.9**step}),
    ("LambdaLR", {"lr_lambda": [lambda n: 1 / (n + 1), lambda n: 0.5]}),
    ("MultiplicativeLR", {"lr_lambda": lambda step: 0.9}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 3}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 4, "gamma": 0.9}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9]}),
    ("MultiStepLR", {"milestones": [7, 3], "gamma": 0.5}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.9, "total_iters": 7}),
    ("PolynomialLR", {"total_iters": 8}),
    ("PolynomialLR", {"total_iters": 30, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 5}),
    ("CosineAnnealingLR", {"T_max": 30, "eta_min": 1e-4}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 1e-4}),
    ("CyclicLR", {"base_lr": 1e-3, "max_lr": 0.1, "step_size_up": 3, "cycle_momentum": False}),
    *(
        ("CyclicLR", {"base_lr": 1e-3, "max_lr": 0.1, "step_size_up": 3, "mode": mode})
        for mode in ("triangular2", "exp_range")
    ),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 25}),
    ("OneCycleLR", {"max_lr": [0.1, 0.2], "epochs": 5, "steps_per_epoch": 5}),
    (
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 21, "three_phase": True, "anneal_strategy": "linear", "pct_start": 0.4},
    ),
    (
        "OneCycleLR",
        {
            "max_lr": 0.1,
            "total_steps": 25,
            "base_momentum": 0.8,
            "max_momentum": 0.9,
            "div_factor": 5,
            "final_div_factor": 50,
        },
    ),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 25, "cycle_momentum": False}),
    ("ReduceLROnPlateau", {"patience": 2}),
    ("ReduceLROnPlateau", {"mode": "max", "patience": 1, "factor": 0.5, "cooldown": 2}),
    (
        "ReduceLROnPlateau",
        {"patience": 0, "threshold": 0.5, "threshold_mode": "abs", "min_lr": [0.001, 0.002], "eps": 1e-3},
    ),
]


def schedule_rows(every: bool = False, chosen: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """A row for each schedule of torch.optim.lr_scheduler."""
    for name in dict.fromkeys(name for name, _ in SCHEDULES):
        if chosen(f"schedule.{name}"):
            ours = getattr(schedule, name, None)
            row = Row(f"schedule.{name}", f"schedule.{name}" if ours else "")
            for options in [options for other, options in SCHEDULES if other == name] if ours else ():
                row.take(functools.partial(same_schedule, getattr(torch.optim.lr_scheduler, name), ours, options))
            yield row


def same_schedule(theirs: type, ours: type, options: dict) -> str | None:
    sgd = {"lr": 0.01, "momentum": 0.9}
    right = trajectory(grouped(torch.optim.SGD, sgd), their_leaf, lambda optimizer: theirs(optimizer, **options))
    found = trajectory(grouped(optim.SGD, sgd), our_leaf, lambda optimizer: refusing(ours, optimizer, **options))
    return compared(found, right, 1e-9, f"trajectory with {options}")


# The table.

KINDS = {"ops": op_rows, "modules": module_rows, "optimisers": optim_rows, "schedules": schedule_rows}
LEFT_OUT = re.compile(
    r"""(fft|special|masked|sparse|signal)\. | _ | torch\. | jiterator | native_ | .*(_ex|_scatter|_copy|_)$ |
    (H|mH|real|imag|angle|conj|conj_physical|complex|polar|resolve_.*)$ |
    (view_as_real|view_as_complex|cfloat|cdouble|chalf)$ |
    (as_strided|empty.*|new_.*|resize.*|to_sparse|contiguous|cauchy|exponential|geometric|log_normal|uniform|normal)$ |
    (linalg\.)?(lu.*|ldl.*|geqrf|ormqr|householder_product|cholesky_inverse|triangular_solve|lstsq)$""",
    re.VERBOSE,
)


def counted() -> dict[str, bool]:
    """The names that a PyTorch user may expect, and whether each is here under torch's or NumPy's.

    Left out is what has no derivative in real numbers, and the fft, special, masked, sparse, signal, complex, in-place,
    _ex, _scatter, _copy, storage and low-level factorisation entries.
    """
    return {
        op.name: bool(ways(op))
        for op in op_db
        if op.supports_autograd and op.supports_dtype(torch.float64, "cpu") and not LEFT_OUT.match(op.name)
    }


BEFORE = {"mg": 64, "mg.functional": 38, "mg.linalg": 0, "nn": 51, "optim": 5, "schedule": 9}  # in version 0.1.0


def rooms() -> dict[str, dict[str, bool]]:
    """For each room the names of torch's that a user may expect in it, and whether each is here."""
    found: dict[str, dict[str, bool]] = {room: {} for room in BEFORE}
    for name, here in counted().items():
        layer = name.removeprefix("nn.functional.").removeprefix("linalg.")
        found["mg" if layer == name else "mg.functional" if name.startswith("nn") else "mg.linalg"][layer] = here
    found["nn"] = {info.module_cls.__name__: hasattr(nn, info.module_cls.__name__) for info in module_db}
    found["optim"] = {info.optim_cls.__name__: hasattr(optim, info.optim_cls.__name__) for info in optim_db}
    found["schedule"] = {name: hasattr(schedule, name) for name, _ in SCHEDULES}
    return found


def reason(room: str, name: str) -> str:
    """What minigrad says to who types an absent name."""
    place = {"mg": mg, "mg.functional": functional, "mg.linalg": mg.linalg}.get(room) or getattr(mg, room)
    try:
        getattr(place, name)
    except AttributeError as error:
        return str(error).partition(f"has no attribute {name!r}")[2].lstrip(": ") or "(no hint)"
    return ""


def print_rooms() -> None:
    """The table by room: how many of torch's names there were, how many there are, and what is said of the others."""
    print(f"\n{'room':<16}{'names of torch':>16}{'in 0.1.0':>10}{'now':>6}")
    for room, names in rooms().items():
        print(f"{room:<16}{len(names):>16}{BEFORE[room]:>10}{sum(names.values()):>6}")
    for room, names in rooms().items():
        for name, here in names.items():
            if not here:
                print(f"    absent: {room}.{name}: {reason(room, name)}")


def main(arguments: list[str]) -> int:
    warnings.simplefilter("ignore")
    names = [argument for argument in arguments if not argument.startswith("-")]
    every = bool(names) or "--every" in arguments
    heads = ("samples", "equal", "refused", "differs", "wrong")
    print(f"{'entry of torch':<52} {'here':<30}" + "".join(f"{head:>9}" for head in heads), flush=True)
    absent, faults = [], 0
    for rows in KINDS.values():
        for row in rows(every, lambda name: not names or name in names):
            if not row.way:
                absent.append(row.name)
                continue
            print(row, flush=True)
            told = [("wrong", row.wrong)] + [("refused", row.refused), ("differs", row.differs)] * bool(names)
            for kind, found in told:
                for what, count in found.most_common():
                    print(f"    {kind}, {count} times: {what}")
            faults += row.wrong.total()
    if not names:
        print(f"\nentries of all kinds that are absent: {', '.join(absent)}")
        print_rooms()
        names_there = counted()
        print(
            f"{sum(names_there.values())} of the {len(names_there)} names of op_db that are counted are here; "
            f"{faults} wrong results"
        )
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
