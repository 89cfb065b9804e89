"""What is given by position means what it means in torch: every signature beside torch's."""

import inspect
import re

import pytest

torch = pytest.importorskip("torch")

import minigrad as mg  # noqa: E402
from minigrad import amp, functional, losses, nn, optim, schedule  # noqa: E402

ROOMS = [
    (nn, torch.nn),
    (optim, torch.optim),
    (schedule, torch.optim.lr_scheduler),
    (functional, torch.nn.functional),
    (losses, torch.nn.functional),
    (nn.init, torch.nn.init),
    (amp, torch.amp),
    (mg, torch),
    (mg.Tensor, torch.Tensor),
]
# The same thing under NumPy's name, or ours, and under torch's.
SAME = {
    "axis": "dim",
    "axes": "dim",
    "dims": "dim",
    "start_axis": "start_dim",
    "keepdims": "keepdim",
    "shape": "size",
    "low": "min",
    "high": "max",
    "sizes": "split_size_or_sections",
    "iterable": "modules",
    "xs": "tensors",
    "ids": "index",
    "repeats": "dim",
    "values": "src",
    "encoder_layer": "layer",
    "decoder_layer": "layer",
    **dict.fromkeys(
        [
            "b",
            "y",
            "L",
            "B",
            "batch2",
            "tensor2",
            "mat2",
            "vec",
            "vec2",
            "x2",
            "dividend",
            "divisor",
            "exponent",
            "tensor",
        ],
        "other",
    ),
    "batch1": "a",
    "mat1": "a",
    "tensor1": "a",
    "vec1": "a",
    "fill_value": "other",
    "value": "other",
    "mat": "a",
    "source": "src",
    "end_axis": "end_dim",
    "axis1": "dim1",
    "axis2": "dim2",
    "dim0": "a",
    "num": "steps",
    "in_axes": "in_dims",
    "out_axes": "out_dims",
    "indices_or_sections": "split_size_or_sections",
    "split_size": "split_size_or_sections",
    "dimension": "dim",
    "stop": "end",
    "ext_tensor": "other",
}
ON_PURPOSE = {
    "LRScheduler": "the base class takes the function of the step; torch's is subclassed instead",
    "GradScaler": "needs no device: a string in its place is refused",
    "autocast": "needs no device: a string that is no dtype is refused",
    **dict.fromkeys(
        ("tensor", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like"),
        "has NumPy's dtype in the next place, where torch has nothing",
    ),
    **dict.fromkeys(("transpose", "permute"), "takes all axes, as NumPy does, or two to swap"),
    "take": "has NumPy's axis after torch's arguments",
    "where": "has torch's order, its operands under other names",
    "swapdims": "has torch's order, its axes under other names",
    "swapaxes": "has torch's order, its axes under other names",
    "to": "takes a device or a dtype, as torch does",
    "seed": "takes the seed, which torch's makes up; manual_seed takes it there",
    "save": "takes arrays by name and a path, nothing of pickles",
    "load": "takes a device where torch's takes a map of devices",
    "round": "has NumPy's `decimals`, keyword-only in torch",
    "trace": "has NumPy's offset and axes, where torch has nothing",
    **dict.fromkeys(("trapezoid", "trapz", "cumulative_trapezoid"), "has NumPy's dx and axis, keyword-only in torch"),
    **dict.fromkeys(("bernoulli", "multinomial"), "calls its input p, the probabilities"),
    "polygamma": "has torch's order, n first",
    "index_copy": "has torch's order; the documentation of its method calls the source otherwise",
    "arange": "has NumPy's dtype in the fourth place",
    "Buffer": "is a Tensor, with a Tensor's arguments; torch's `persistent` is keyword-only",
}


def positional(function):
    """The names that may be given by position, self aside, in each form of a function.

    (C functions have them in their text.)
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        forms = re.findall(rf"^(?:\.\. function:: )?{function.__name__}\((.*?)\) ->", function.__doc__ or "", re.M)
        return [
            [name.split("=")[0].split(":")[0].strip() for name in form.split("*")[0].split(",") if name.strip()]
            for form in forms
        ]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return []
    return [[p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != "self"]]


PAIRS = [
    pytest.param(getattr(ours, name), positional(getattr(room, name)), id=f"{ours.__name__.split('.')[-1]}.{name}")
    for ours, room in ROOMS
    for name in dir(ours)
    if not name.startswith("_")
    and name not in ON_PURPOSE
    and callable(getattr(ours, name))
    and callable(getattr(room, name, None))
    and any(positional(getattr(room, name)))
]


def test_most_names_are_compared():
    assert len(PAIRS) > 180


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_what_is_given_by_position_is_what_torch_has_there(ours, theirs):
    (own,) = positional(ours) or [[]]
    inputs = {
        "x",
        "a",
        "input",
        "tensor",
        "self",
        "data",
        "condition",
        "x1",
        "start",
        "f",
        "func",
    }  # what the first is called is of no account
    own, *theirs = (
        [SAME.get(name, name) for name in names[names[:1] != [] and names[0] in inputs :]] for names in (own, *theirs)
    )
    assert any(own == form[: len(own)] for form in theirs), (own, theirs)
