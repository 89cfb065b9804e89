"""Every row of the catalogue is put to every question that can be asked of any op."""

import math
import re
import warnings
from contextlib import contextmanager
from importlib import import_module
from itertools import product
from pathlib import Path
from pkgutil import walk_packages

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend
from minigrad.backend import Kernel
from minigrad.backend.cpu import loops, select
from minigrad.checking import gradcheck
from minigrad.checking.catalogue import BROADCASTING, NO_GRADIENT, ROWS
from minigrad.checking.catalogue.rows import cut, is_float
from minigrad.primitive import OPS
from minigrad.tensor import Tensor, grad
from minigrad.writes import kept_arrays

NAMED = [
    pytest.param(row, id=f"{row.op}-{sum(other.op == row.op for other in ROWS[:i])}") for i, row in enumerate(ROWS)
]
every_row = pytest.mark.parametrize("row", NAMED)
# Where sizes that are equal by chance are not one size; tests of their own ask these for nothing.
UNEVEN = {
    "lstm",
    "lstm_projected",
    "gru",
    "rnn",
    "ctc",
    "conv",
    "conv_norm",
    "conv_input_grad",
    "conv_weight_grad",
    "spread",
    "split",
    "unbind",
    "qr",
    "contrastive_loss",
}
NEEDS_EXAMPLES = {  # a mean of nothing; no step, no state; operands that are as long as others
    *("mse_loss", "lstm", "gru", "rnn", "batch_norm", "dot", "vdot", "addbmm", "dist", "block_diag", "vstack"),
    *("bincount", "cov", "corrcoef", "lstsq", "lstm_projected"),
}
NAMES = {
    *mg.ops.__all__,
    *mg.ops.LATER,
    *mg.linalg.__all__,
    *mg.functional.__all__,
    *OPS,
    "attention",
    "index",
}  # what a message may begin with
ENTRY_BY_ENTRY = BROADCASTING | {
    "abs",
    "astype",
    "negative",
    "power_of",
    "sign",
    "to_device",
    "exp",
    "log",
    "log1p",
    "expm1",
    "sqrt",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
    "relu",
    "clip",
    "silu",
    "softplus",
    "leaky_relu",
    "relu6",
    "elu",
    "celu",
    "selu",
    "mish",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "softsign",
    "softshrink",
    "hardshrink",
    "tanhshrink",
    "threshold",
    "gelu",
    "mse_loss",
    "l1_loss",
    "huber_loss",
    "smooth_l1_loss",
    "binary_cross_entropy",
}
BACKEND = Path(backend.__file__).parent
TABLES = {
    f"{wing}.{file.stem}": module.table
    for wing in ("shared", "cpu")
    for file in sorted((BACKEND / wing).glob("[a-z]*.py"))
    if hasattr(module := import_module(f"minigrad.backend.{wing}.{file.stem}"), "table")
} | {"cpu.loops": loops.instead_of({})}


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="raise", under="ignore"):
        yield


def tensors(inputs, requires_grad=True):
    return [Tensor(a, requires_grad) if is_float(a) else a for a in inputs]


def cast(inputs, dtype):
    return [a.astype(dtype) if is_float(a) else a for a in inputs]


def longer(row, n):
    """The row's inputs with first axes of length n where the row says that this may be."""
    return [np.resize(a, (n, *a.shape[1:])) if i in row.batch else a for i, a in enumerate(row.inputs)]


def run(row, inputs, again=False, seed=None):
    """The value, and a gradient for each floating input; the incoming gradient has the digits of the dtype `seed`."""
    xs = tensors(inputs)
    y = row.call(*xs)
    leaves = [x for x in xs if isinstance(x, Tensor)]
    if not y.requires_grad:
        return [y.numpy()]
    seed = Tensor(np.cos(np.arange(y.size)).reshape(y.shape).astype(seed or y.dtype), dtype=y.dtype)
    return [y.numpy(), *(g.numpy() for g in grad(y, leaves, seed, create_graph=again))]


def assert_same(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(
            a.astype(np.float64), b.astype(np.float64), rtol=tolerance, atol=tolerance * abs(b).max(initial=1)
        )


def test_every_op_has_a_row():
    for module in walk_packages(mg.__path__, "minigrad."):
        optional = (
            "minigrad.backend.cuda",
            "minigrad.backend.cpu.loops.",
            "minigrad.parity.reference",
            "minigrad.serve.",
        )
        if not module.name.startswith(optional) and module.name != "minigrad.__main__":
            import_module(module.name)
    assert set(OPS) - {row.op for row in ROWS} == set()


@every_row
def test_a_row_is_about_the_op_it_names(row):
    y = row.call(*tensors(row.inputs))
    assert y.requires_grad == (row.op not in NO_GRADIENT)
    if row.op in OPS and y.requires_grad and row.op not in TABLES["shared.layers"]:
        rules = getattr(OPS[row.op], "rules", None)
        assert y.node.step.name == row.op if rules is not None else y.node.step.name in OPS


@every_row
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_value_and_dtype(row, dtype):
    """In each dtype the op and its gradients give NumPy's float64 values on the same numbers, in that dtype."""
    eps = 1e-15 if dtype == "float64" else float(pytest.importorskip("ml_dtypes").finfo(dtype).eps)
    inputs = cast(row.inputs, pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    y, *gradients = run(row, inputs)
    expected = np.asarray(row.reference(*cast(inputs, np.float64)))
    assert y.shape == expected.shape
    assert y.dtype == (
        row._replace(inputs=inputs).floats()[1][0].dtype if expected.dtype == np.float64 else expected.dtype
    )
    np.testing.assert_allclose(y.astype(np.float64), expected, rtol=20 * eps, atol=20 * eps)
    assert all(
        g.dtype == x.dtype and g.shape == x.shape for g, x in zip(gradients, row._replace(inputs=inputs).floats()[1])
    )


@every_row
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("n", [None, 1000])
def test_numbers_of_16_bits_are_rounded_once(row, dtype, n):
    """Value and gradients are those of float64 on the same numbers, to half a step of the dtype: all between is
    float32.

    What float32 may be off is measured by the largest entry, since terms of a sum may cancel.
    """
    ml_dtypes = pytest.importorskip("ml_dtypes")
    limits, n = ml_dtypes.finfo(dtype), n if row.batch and row.op != "info_nce" else None
    inputs = cast(row.inputs if n is None else longer(row, n), limits.dtype)
    found, exact = (run(row, cast(inputs, kind), seed=limits.dtype) for kind in (limits.dtype, np.float64))
    for a, b in zip(found, exact, strict=True):
        if is_float(a):
            a, noise = (
                a.astype(np.float64),
                1e-6 * abs(b).max(initial=0, where=np.isfinite(b)) + float(limits.smallest_subnormal),
            )
            inside = abs(b) < float(limits.max)
            assert (abs(a - b)[inside] <= 0.51 * float(limits.eps) * abs(b)[inside] + noise).all()
            np.testing.assert_array_equal(a[~inside], b[~inside].astype(limits.dtype).astype(np.float64))


OF_FRACTIONS = {  # whole numbers are too large, too equal, or too even
    *("arcsin", "arccos", "arctanh", "logit", "corrcoef", "logdet", "cholesky", "eigh", "eigvalsh", "svd", "svdvals"),
    *("cond", "matrix_norm", "qr"),
}
STAY_WHOLE = set(
    """
    abs adaptive_max_pool2d add add_at argmax argsort astype broadcast_to clip collect concatenate conv conv_input_grad
    conv_norm conv_weight_grad cumsum einsum embedding expand_dims flatten flip gather linear matmul max max_pool
    maximum min minimum multiply negative pad per_channel power_by power_of prod put_along relu relu6 reshape scatter
    scatter_add sign sort split spread squeeze stack subtract sum sum_to swapaxes take tile to_device topk transpose
    tril triu where hardtanh prelu threshold addbmm addcmul addmm addmv addr aminmax baddbmm bincount block_diag
    cartesian_prod ceil chunk column_stack cross cummax cummin cumprod diag diag_embed diagflat diagonal diff dot dstack
    floor floor_divide fmax fmin fmod frac heaviside hstack index_add index_copy index_fill index_select inner kron
    kthvalue lerp masked_fill masked_select meshgrid moveaxis nan_to_num nansum outer remainder repeat roll rot90 round
    square take_along_axis tensor_split tensordot trace trunc trunc_divide unbind unflatten unfold vdot vecdot vstack
    matrix_power multi_dot vander mode
    adaptive_max_pool3d conv3d conv_transpose3d max_pool3d bilinear channel_shuffle fold image_unfold
    interpolate_nearest pixel_shuffle pixel_unshuffle
    """.split()
)


@every_row
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64"])
def test_whole_numbers(row, dtype):
    """A floating result is float32, and that of float64 on the same numbers: of 8 bits, NumPy would make float16."""
    if row.op in OF_FRACTIONS:
        return
    whole = [(np.round(abs(a) * 9) + 1).astype(dtype) if is_float(a) else a for a in row.inputs]
    floats = [a.astype("f8") if is_float(b) else a for a, b in zip(whole, row.inputs)]
    try:
        exact = np.asarray(row.call(*floats))
    except ValueError:  # not probabilities; or labels, where a probability of each class was given
        return
    for given in (whole, [Tensor(a) if is_float(b) else a for a, b in zip(whole, row.inputs)]):
        if row.op in STAY_WHOLE and exact.dtype == np.float64:
            continue  # as in NumPy, and it may wrap around there
        try:
            y = row.call(*given)
        except ValueError:
            assert row.op == "cross_entropy"
            return
        assert y.dtype == (np.float32 if exact.dtype == np.float64 else exact.dtype)
        np.testing.assert_allclose(np.asarray(y, "f8"), exact, rtol=1e-5, atol=1e-5 * abs(exact).max(initial=0))


@every_row
def test_gradients_to_second_order(row):
    f, xs = row.floats()
    if row.op not in NO_GRADIENT:
        gradcheck(f, xs, order=2, name=row.op)


@every_row
@pytest.mark.parametrize("layout", ["columns", "strided", "reversed", "read-only"])
def test_any_layout_in_memory(row, layout):
    def laid_out(a):
        if layout == "columns":
            return np.asfortranarray(a)
        if layout == "strided":
            return np.repeat(np.repeat(a, 2, -1), 2, 0)[::2, ..., ::2] if a.ndim > 1 else np.repeat(a, 2)[::2]
        if layout == "reversed":
            return np.ascontiguousarray(a[::-1])[::-1]
        a = a.copy()
        a.flags.writeable = False
        return a

    assert_same(run(row, [laid_out(a) for a in row.inputs]), run(row, row.inputs), 1e-14)


@pytest.mark.parametrize("row", [p for p in NAMED if p.values[0].op in BROADCASTING and p.id.endswith("-0")])
@pytest.mark.parametrize("part", [np.s_[:1], np.s_[:, :1], np.s_[0], np.s_[0, 0]])
def test_broadcasting(row, part):
    for i in range(len(row.inputs)):
        less = cut(row, i, part)
        f, xs = less.floats()
        np.testing.assert_allclose(f(*tensors(xs)).numpy(), row.reference(*less.inputs), rtol=1e-14)
        if row.op not in NO_GRADIENT:
            gradcheck(f, xs, order=2, name=row.op)


@pytest.mark.parametrize("row", [p for p in NAMED if p.values[0].batch])
def test_no_examples(row):
    inputs = longer(row, 0)
    y, *gradients = run(row, inputs)
    assert y.shape == np.shape(row.reference(*inputs))
    assert [g.shape for g in gradients] in ([], [x.shape for x in row._replace(inputs=inputs).floats()[1]])
    assert all((g == 0).all() for g in gradients if g.size)


def test_every_op_was_asked_for_no_examples():
    assert {row.op for row in ROWS} - {row.op for row in ROWS if row.batch} == NEEDS_EXAMPLES


def assert_right_or_refused(row, inputs):
    """The reference's value, and its derivatives to second order; or a refusal in the words of one of our ops."""
    try:
        with np.errstate(all="ignore"):  # a mean of nothing is nan
            y = row.call(*tensors(inputs))
    except (TypeError, ValueError, IndexError) as error:
        assert re.match(r"a gradient of|[a-z_0-9]*", str(error))[0] in {"a gradient of", *NAMES}, error
        return False
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.asarray(row.reference(*inputs))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13)
    f, xs = row._replace(inputs=tuple(inputs)).floats()
    if row.op not in NO_GRADIENT and y.size and np.isfinite(expected).all():
        gradcheck(f, xs, order=2, name=row.op)
    elif y.requires_grad:
        with np.errstate(all="ignore"):
            assert [g.shape for g in run(row, inputs, again=True)[1:]] == [x.shape for x in xs]
    return True


OF_A_NUMBER = [  # along an axis: a number has one, as in torch; and all at once
    *[
        (name, lambda x, axis, name=name: getattr(mg, name)(x, axis=axis), value)
        for name, value in {
            "sum": 2,
            "mean": 2,
            "max": 2,
            "min": 2,
            "norm": 2,
            "logsumexp": 2,
            "var": 0,
            "std": 0,
            "softmax": 1,
            "log_softmax": 0,
            "prod": 2,
            "cumsum": 2,
            "squeeze": 2,
            "flip": 2,
            "argsort": 0,
            "argmax": 0,
            "any": 1,
            "all": 1,
        }.items()
    ],
    ("sort", lambda x, axis: mg.sort(x, axis)[0], 2),
    ("sort", lambda x, axis: mg.sort(x, axis)[1], 0),
    ("topk", lambda x, axis: mg.topk(x, 1, axis)[0], 2),
    ("topk", lambda x, axis: mg.topk(x, 1, axis)[1], 0),
    ("gather", lambda x, axis: mg.gather(x, axis, 0), 2),
    ("scatter", lambda x, axis: mg.scatter(x, axis, 0, 5.0 * x), 10),
    ("scatter_add", lambda x, axis: mg.scatter_add(x, axis, 0, 5.0 * x), 12),
    ("expand_dims", lambda x, axis: mg.expand_dims(x, axis)[0], 2),
]


@pytest.mark.parametrize(("op", "f", "value"), [pytest.param(*case, id=case[0]) for case in OF_A_NUMBER])
@pytest.mark.parametrize("axis", [0, -1])
def test_a_single_number_has_one_axis(op, f, value, axis):
    for x in (Tensor(np.float64(2)), 2.0, np.float64(2), np.array(2.0), Tensor(2.0)):
        y = f(x, axis)
        assert np.shape(y) == () and np.asarray(y) == value, x
    if f(Tensor(2.0, requires_grad=True), axis).requires_grad:
        gradcheck(lambda x: f(x, axis), np.array(2.0), order=1 if op in ("var", "std") else 3, name=op)
    for wrong in (1, -2):
        with pytest.raises((ValueError, IndexError), match=op):
            f(Tensor(2.0), wrong)
    with pytest.raises(TypeError, match=op):
        f(Tensor(2.0), "x")


@every_row
def test_a_single_number(row):
    without = "sort", "var", "std", "contrastive_loss", "broadcast_to", "spread", "put_along", "per_channel"
    if row.op not in without:  # they have no reference for it
        answered = assert_right_or_refused(row, [np.asarray(a.reshape(-1)[0]) for a in row.inputs])
        assert answered or row.op not in ENTRY_BY_ENTRY or len(row.inputs) > 1 and row.op == "gelu"


@every_row
def test_nothing_along_every_axis(row):
    """Each axis of each length made 0 wherever it is."""
    if row.op in UNEVEN:
        return
    for n in sorted({n for a in row.inputs for n in a.shape}):
        assert_right_or_refused(row, [a[tuple(slice(0 if m == n else None) for m in a.shape)] for a in row.inputs])


@every_row
def test_arrays_in_array_out(row):
    y = row.call(*row.inputs)
    assert isinstance(y, np.ndarray | np.generic)
    np.testing.assert_array_equal(y, row.call(*tensors(row.inputs)).numpy())


@every_row
def test_inputs_and_the_incoming_gradient_are_not_written_into(row):
    inputs = [a.copy() for a in row.inputs]
    run(row, inputs)
    for a, b in zip(inputs, row.inputs, strict=True):
        np.testing.assert_array_equal(a, b)
    y = row.call(*tensors(inputs))
    if y.requires_grad:
        seed = np.ones(y.shape)
        y.backward(Tensor(seed))
        assert (seed == 1).all()


@every_row
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_gradient_is_new_or_is_what_came_in(row, dtype):
    """A leaf keeps it, and others are added to it in place, if it is no view: so it must be nothing that somebody else
    has.
    """
    xs = tensors(cast(row.inputs, dtype))
    y = row.call(*xs)
    if not y.requires_grad:
        return
    nodes = [y.node]
    for node in nodes:
        nodes += [parent for parent in node.parents if parent.step is not None and parent not in nodes]
    for node in nodes:
        assert node.step.fresh, node.step.name
        kept = [*kept_arrays(node.saved), *(x.data if isinstance(x, Tensor) else x for x in xs)]
        g = np.cos(np.arange(float(np.prod(node.shape)))).reshape(node.shape).astype(node.dtype)
        given = [gx for gx in node.step.pull(node, node.saved, g, False) if isinstance(gx, np.ndarray) and gx is not g]
        for i, gx in enumerate(given):
            if gx.base is None:
                assert not any(np.shares_memory(gx, other) for other in [g, *kept, *given[:i]])


@every_row
def test_one_tensor_in_several_slots(row):
    if row.op in NO_GRADIENT:
        return
    f, xs = row.floats()
    slots = [next(i for i, other in enumerate(xs) if other.shape == x.shape) for x in xs]
    if len(set(slots)) < len(slots):
        used = sorted(set(slots))
        gradcheck(
            lambda *given: f(*[given[used.index(slot)] for slot in slots]), [xs[i] for i in used], order=3, name=row.op
        )
    else:  # one input: what comes out meets what went in
        gradcheck(lambda x, *rest: mg.sum(f(x, *rest)) * x, xs, order=2, name=row.op)


@every_row
def test_nothing_is_kept_that_no_rule_names(row):
    rules = getattr(OPS.get(row.op), "rules", None) or {}
    if len(rules) != len(row.floats()[1]):  # a number stands in an input's place
        return
    for name, (_, asks) in rules.items():
        given = dict(zip(OPS[row.op].inputs, row.inputs))
        y = row.call(*[Tensor(a, a is given[name]) if is_float(a) else a for a in row.inputs])
        named = given | {"y": y.data}
        kept = [a for a in y.node.saved if isinstance(a, np.ndarray)]
        assert not [what for what, a in named.items() if what not in asks and any(a is k for k in kept)]


# Kernels: under an op's name, and on the first-order path equal to what the op means.


@contextmanager
def kernels(table):
    """With these kernels on the CPU, and no others."""
    installed = dict(backend.host.kernels)
    backend.host.kernels.clear()
    backend.host.kernels.update(table)
    try:
        yield
    finally:
        backend.host.kernels.clear()
        backend.host.kernels.update(installed)


def fused(table):
    return {name: kernel for name, kernel in TABLES[table].items() if isinstance(kernel, Kernel)}


@pytest.mark.parametrize("table", TABLES)
def test_every_kernel_stands_under_the_name_of_an_op(table):
    assert set(fused(table)) - set(OPS) == set()


KERNEL_ROWS = [
    pytest.param(p.values[0], table, n, id=f"{p.id}-{table}-{n}")
    for p, table, n in product(NAMED, TABLES, (None, 0, 1, 1000))
    if p.values[0].op in fused(table) and (n is None or p.values[0].batch)
]


@pytest.mark.parametrize(("row", "table", "n"), KERNEL_ROWS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5), ("float16", 1e-2)])
def test_a_kernel_is_what_the_op_means(row, table, n, dtype, tolerance, monkeypatch):
    """Forward and backward, on the row's inputs, on no example, on one, and on enough of them to be worked on in
    blocks.
    """
    monkeypatch.setattr(select, "MIN_SIZE", 0)
    inputs = cast(row.inputs if n is None else longer(row, n), dtype)
    with kernels(fused(table)):
        found = run(row, inputs)
    with kernels({}):
        assert_same(found, run(row, inputs), tolerance)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [p for p in NAMED if p.values[0].op in loops.instead_of({})])
def test_a_loop_passes_on_what_is_not_finite(row, special, monkeypatch):
    monkeypatch.setattr(select, "MIN_SIZE", 0)
    inputs = [a.copy() for a in cast(row.inputs, "float32")]
    inputs[0].reshape(-1)[inputs[0].size // 2] = special
    with np.errstate(all="ignore"):
        with kernels(loops.instead_of({})):
            found = run(row, inputs)[0]
        with kernels({}):
            np.testing.assert_allclose(found, run(row, inputs)[0], rtol=1e-5, atol=1e-6)


BAD = """
    Tensor([[1, 2], [3]]) | mg.tensor([[1, 2], [3]]) | mg.sum([[1, 2], [3]]) | mg.sum("a") | mg.sum(None)
    mg.exp("a") | mg.exp(None) | t + "a" | t + None | "a" * t | t @ "a" | t @ 3 | t ** None | t ** "a"
    mg.maximum(t, "a") | mg.where("a", t, t) | mg.where(t, t, "a") | mg.sum(t, "a") | mg.sum(t, 1.0) | mg.sum(t, True)
    mg.sum(t, 5) | mg.sum(t, (0, 0)) | mg.sum(t, [0, 9]) | mg.sum(t, keepdims="a") | mg.mean(t, "a") | mg.mean(t, 5)
    mg.var(t, 5) | mg.std(t, 1.5) | mg.any(t, 5) | mg.all(t, "a") | mg.var(t, correction="a") | mg.max(t, "a")
    mg.min(t, 5) | mg.argmax(t, (0, 1)) | mg.norm(t, axis=5) | mg.logsumexp(t, 5) | mg.prod(t, (0, 1)) | mg.prod(t, 5)
    mg.softmax(t, "a") | mg.softmax(t, 5) | mg.log_softmax(t, 1.5) | mg.cumsum(t, "a") | mg.cumsum(t, 5)
    mg.argsort(t, (0, 1)) | mg.sort(t, 5) | mg.sort(t, "a") | mg.topk(t, "a") | mg.topk(t, 1.0) | mg.topk(t, True)
    mg.topk(t, 9) | mg.topk(t, 1, 5) | mg.max(e) | mg.min(e) | mg.argmax(e) | mg.concatenate([]) | mg.concatenate(3)
    mg.concatenate([t, 3]) | mg.concatenate([t, t], 5) | mg.stack([]) | mg.stack(3) | mg.stack([t, v])
    mg.stack([t], 9) | mg.flip(t, "a") | mg.flip(t, 5) | mg.flip(t, (0, 0)) | mg.squeeze(t, "a") | mg.squeeze(t, 0)
    mg.expand_dims(t, None) | mg.expand_dims(t, (0, 1)) | mg.expand_dims(t, 9) | mg.flatten(t, "a")
    mg.reshape(t, "a") | mg.reshape(t, None) | mg.reshape(t, (2.0, 3)) | mg.reshape(t, (4, 2)) | t.reshape()
    mg.broadcast_to(t, 7) | mg.broadcast_to(t, "a") | mg.swapaxes(t, 0, "a") | mg.swapaxes(t, 0, 5)
    mg.swapaxes(t, 0.0, 1) | mg.transpose(t, "ab") | mg.transpose(t, (0, 0)) | mg.transpose(t, 3)
    mg.transpose(t, (0, 1.0)) | t.transpose(0) | t.transpose(0, 5) | mg.pad(t, "a") | mg.split(t, "a")
    mg.split(t, [1, "a"]) | mg.split(t, 1.5) | mg.split(t, 1, 5) | mg.tile(t, "a") | mg.tile(t, -1)
    mg.tile(t, (1, 2.5)) | mg.tril(t, "a") | mg.tril(v) | mg.triu(2.0) | mg.take(t, "a") | mg.take(t, 9)
    mg.take(t, 0.5) | mg.take(t, 0, 5) | mg.gather(t, 0, "a") | mg.gather(t, 0, [[0.5]]) | mg.gather(t, "a", [[0]])
    mg.gather(t, 5, [[0]]) | mg.gather(t, 0, [[9]]) | mg.scatter(t, 0, [[0]], "a") | mg.scatter_add(t, 0, [[0]], None)
    mg.scatter(t, 0, [0], 1.0) | mg.scatter_add(t, 0, [[0, 1]], [[1.0]]) | mg.einsum(3, t) | mg.einsum("ij")
    mg.einsum("ij", 3) | mg.einsum("i j k", t) | mg.einsum("ij->k", t) | mg.matmul(t, t) | mg.clip(t, "a", None)
    mg.astype(t, "floot") | t.astype("floot") | t.to("tpu") | t.to(None) | mg.zeros(3, dtype="floot") | t[0.5]
    t["a"] | t[9] | t[0, 0, 0] | t[None, ..., ...] | t[[True, False, True]] | t[0, [9]] | F.softmax(t, None, 3)
    F.gelu("a") | F.gelu(t, True) | F.dropout(t, "a") | F.dropout(t, 2) | F.linear(t, "a") | F.linear(t, 3)
    F.layer_norm(t, "a") | F.layer_norm(t, 3.0) | F.layer_norm(t, 2) | F.rms_norm(t, None) | F.group_norm(t, "a")
    F.leaky_relu(t, "a") | F.softplus(t, "a") | F.embedding(t, [0.5]) | F.embedding(t, "a") | F.embedding(t, 7)
    F.max_pool2d(t, 2) | F.max_pool1d(t, "a") | F.max_pool1d(t, None) | F.max_pool1d(t, 1.5) | F.avg_pool1d(t, 0)
    F.avg_pool2d(i, 2, divisor_override=0) | F.adaptive_avg_pool1d(t, "a") | F.adaptive_avg_pool1d(t, 0)
    F.adaptive_max_pool2d(t[0], 1) | F.conv1d(t, "a") | F.conv2d(t, t) | F.conv1d(t, i, padding="a")
    F.conv1d(t, i, groups="a") | F.conv1d(t, i, stride=0) | F.conv_transpose2d(i, i[None], output_padding=1)
    F.conv1d("a", i) | F.scaled_dot_product_attention(t, t, "a") | F.scaled_dot_product_attention(t, t, t, scale="a")
    F.scaled_dot_product_attention(t, t, t, "a") | F.scaled_dot_product_attention(v, v, v)
    F.scaled_dot_product_attention(t, t, v) | losses.cross_entropy(t, "a") | losses.cross_entropy(t, [0, 1], "a")
    losses.cross_entropy(t, [0, 1], label_smoothing="a") | losses.cross_entropy(t, [0, 1], reduction=None)
    losses.cross_entropy(t, [0, 1], reduction=["mean"]) | losses.cross_entropy(v, 1) | losses.nll_loss("a", [0])
    losses.mse_loss(t, "a") | losses.mse_loss(t, None) | losses.mse_loss(t, 3) | losses.mse_loss("a", t)
    losses.l1_loss(t, v) | losses.huber_loss(t, t, delta="a") | losses.smooth_l1_loss(t, t, beta=None)
    losses.kl_div(t, t, reduction="x") | losses.binary_cross_entropy(t, t)
    losses.binary_cross_entropy_with_logits(t, v) | losses.ctc_loss(v, [1], [1], [1])
    losses.ctc_loss(t, [1], "a", [1]) | losses.cosine_embedding_loss(t, t, "a") | losses.contrastive_loss(t, v, [1])
    losses.info_nce(t, v)
    """
ABOUT = {
    "Tensor": "Tensor|list",
    "mg.tensor": "Tensor|list",
    "t[": "index",
    "t ": "add|power|matmul",
    "t.to": "device",
    "t.transpose": "axes",
    '"a" *': "multiply",
    "F.scaled": "attention",
}


@pytest.mark.parametrize("call", [call.strip() for line in BAD.strip().splitlines() for call in line.split("|")])
def test_bad_calls_are_refused_in_our_words(call):
    """A TypeError, ValueError or IndexError that names the op: no error of Python's or NumPy's comes through."""
    names = {
        "mg": mg,
        "F": mg.functional,
        "losses": mg.losses,
        "Tensor": Tensor,
        "t": Tensor(np.arange(6.0).reshape(2, 3), True),
        "v": Tensor([1.0, 2.0], True),
        "e": Tensor(np.zeros((0, 3))),
        "i": Tensor(np.ones((1, 2, 2))),
    }
    with pytest.raises((TypeError, ValueError, IndexError)) as refusal:
        eval(call, names)
    op = re.match(r"(?:mg|F|losses|t)\.(\w+)", call)
    about = next((what for start, what in ABOUT.items() if call.startswith(start)), op and op[1])
    assert re.search(about, str(refusal.value)), refusal.value
