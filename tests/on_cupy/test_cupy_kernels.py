"""Every CUDA kernel held to its twin, the same function written once for both libraries, run by NumPy in float64."""

import os
import subprocess
import sys
from pathlib import Path

import cupy
import ml_dtypes
import numpy as np
import pytest
import test_backend_shared_layers
import test_backend_shared_recurrent

from minigrad import backend, nn, optim
from minigrad import functional as F
from minigrad.backend import Kernel
from minigrad.backend.cuda import attention as cuda_attention
from minigrad.backend.cuda import optimizers
from minigrad.backend.cuda import table as cuda_table
from minigrad.backend.shared import optimizers as shared_optimizers
from minigrad.backend.shared import table as shared_table
from minigrad.ops import pool as pool_ops
from minigrad.ops import window as window_ops
from minigrad.ops.window import Window
from minigrad.tensor import Tensor

xp = backend.get("cuda").xp
rng = np.random.default_rng(0)


def ruled(op, many):
    """An op of so many inputs, computed and differentiated by its own function and rules, as a kernel."""

    def forward(xp, *given):
        return op(*given), given[:many]

    def backward(xp, g, inputs, wanted, *options):
        asked = [Tensor(x, requires_grad=True) if want else x for x, want in zip(inputs, wanted, strict=True)]
        op(*asked, *options).backward(Tensor(g))
        return [x.grad.data if want else None for x, want in zip(asked, wanted, strict=True)]

    return Kernel(forward, backward)


TWINS = {
    **shared_table,
    "conv": ruled(window_ops.conv, 3),
    "conv_input_grad": ruled(window_ops.conv_input_grad, 2),
    "max_pool": ruled(pool_ops.max_pool, 1),
}
DTYPES = [np.dtype(t) for t in ("f4", "f2", ml_dtypes.bfloat16)]
SIMULATED = not os.environ.get("MINIGRAD_GPU")


def R(*shape):
    return rng.standard_normal(shape)


def heads(T, d):
    return R(2, T, 3, d).swapaxes(1, 2)


def attention(q, k, v, mask=None, p=0.0, is_causal=False):
    keep = rng.random((*q.shape[:-2], k.shape[-2], q.shape[-2])).swapaxes(-1, -2) >= p if p else None  # as it is drawn
    return "scaled_dot_product_attention", (q, k, v, mask), (keep, p, 0.4, is_causal)


def cross_entropy(rows, n, *options):
    return "cross_entropy", (R(rows, n) * 3,), (rng.integers(0, n, rows), *options)


LARGE = [  # more than a block has threads, more than a tile, more than a chunk
    ("gelu", (R(3, 5, 211), None), ("none",)),
    ("gelu", (R(3, 5, 211), R(211)), ("tanh",)),
    ("dropout", (R(700),), (rng.random(700) > 0.3, 0.3)),
    ("softmax", (R(3, 2311) * 3,), (-1,)),
    ("softmax", (R(300, 7),), (0,)),
    ("log_softmax", (R(2, 600, 3),), (1,)),
    ("layer_norm", (R(2, 1501), R(1501), R(1501)), (1e-5,)),
    ("layer_norm", (R(3, 100, 33), R(33), R(33)), (1e-5,)),
    ("layer_norm", (R(1000, 8), R(8), None), (1e-5,)),
    cross_entropy(4, 3001, None, -100, 0.1, "mean"),
    cross_entropy(4, 3001, R(3001) ** 2, -100, 0.1, "none"),
    ("embedding", (R(9, 300),), (rng.integers(0, 9, (4, 70)),)),
    attention(heads(70, 33), heads(130, 33), heads(130, 40), p=0.2, is_causal=True),
    attention(heads(40, 80), heads(66, 80), heads(66, 128), rng.random((2, 1, 40, 66)) < 0.5, p=0.2),
    attention(heads(65, 32), heads(64, 32), heads(64, 32), R(65, 64)),
    attention(R(2, 2, 3, 5, 4), R(2, 2, 3, 6, 4), R(2, 2, 3, 6, 4), R(2, 1, 1, 5, 6)),
    ("embedding", (R(7, 30),), (np.repeat([0, 3, 5], [200, 1, 68]),)),  # runs over many chunks
    ("embedding", (R(3, 30),), (np.repeat([1, 2], [64, 32]),)),
]
NOTHING = [  # no axes, or none along one
    ("gelu", (np.array(0.3), None), ("none",)),
    ("dropout", (np.array(0.3),), (np.array(True), 0.3)),
    ("gelu", (R(0, 3), None), ("tanh",)),
    ("gelu", (R(0, 3), R(3)), ("none",)),
    ("softmax", (R(0, 3),), (-1,)),
    ("log_softmax", (R(3, 0),), (-1,)),
    ("layer_norm", (R(0, 3), R(3), R(3)), (1e-5,)),
    ("linear", (R(0, 3), R(2, 3), R(2)), ()),
    ("linear", (R(3, 0), R(2, 0), R(2)), ()),
    cross_entropy(0, 3, None, -100, 0.1, "sum"),
    ("embedding", (R(3, 2),), (np.zeros((0, 2), int),)),
    attention(heads(0, 4), heads(3, 4), heads(3, 4)),
    attention(heads(3, 4), heads(0, 4), heads(0, 4)),
]


def windows():
    plain, odd = Window((3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)), Window((3, 2), (2, 3), ((1, 2), (0, 1)), (2, 1))
    for window, groups in ((plain, 1), (odd, 1), (odd, 2), (Window((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)), 1)):
        x, weight = R(3, 4, 11, 13), R(6, 4 // groups, *window.kernel)
        yield "conv", (x, weight, R(6)), (window, groups)
        y = TWINS["conv"].forward(np, x, weight, None, window, groups)[0]
        yield "conv_input_grad", (y, weight), ((11, 13), window, groups)
    signal = Window((3,), (2,), ((1, 1),), (1,))
    yield "conv", (R(2, 3, 9), R(4, 3, 3), None), (signal, 1)
    yield "conv", (R(0, 3, 9), R(4, 3, 3), R(4)), (signal, 1)
    yield "max_pool", (R(2, 3, 9),), (signal,)
    yield "max_pool", (R(2, 3, 11, 13),), (odd,)
    yield "max_pool", (R(4, 20, 21).round(),), (Window((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),)  # many are equal


def recurrent():
    """Eleven steps, with weights so small that rounding does not grow from one to the next."""
    for name, (_, options) in test_backend_shared_recurrent.CASES.items():
        for mask in (None, np.arange(11)[:, None] < [11, 3, 7]):
            yield name, [x / 3 for x in test_backend_shared_recurrent.inputs(name, 11, 3, 5)], (mask, *options)


CASES = [
    pytest.param(case, id=test_backend_shared_layers.name(case))
    for n in (6, 67)
    for case in test_backend_shared_layers.cases(n)
]
CASES += [
    pytest.param(case, id=test_backend_shared_layers.name(case))
    for case in (*LARGE, *NOTHING, *windows(), *recurrent())
]
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def on_gpu(x, dtype):
    """An input or option as it is given to a kernel; heads keep the order they have in memory."""
    if not isinstance(x, np.ndarray):
        return x
    for i in range(1, x.ndim - 1) if x.ndim == 4 else ():
        if x.strides[i] < x.strides[i + 1]:
            return on_gpu(x.swapaxes(i, i + 1), dtype).swapaxes(i, i + 1)
    return xp.asarray(x.astype(dtype) if x.dtype.kind == "f" else x)


def rounded(x, dtype):
    return x.astype(dtype).astype("f8") if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def run(case, dtype, seed=0):
    """What the kernel gives: the result, its gradient that is asked of it, and the gradients of the inputs."""
    op, inputs, options = case
    kernel, options = cuda_table[op], [on_gpu(x, dtype) for x in options]
    y, saved = kernel.forward(xp, *(on_gpu(x, dtype) for x in inputs), *options)
    g = np.random.default_rng(seed).standard_normal(y.shape).astype(dtype)
    return y, g, kernel.backward(xp, xp.asarray(g), saved, wanted_of(inputs), *options)


def wanted_of(inputs):
    return tuple(x is not None and x.dtype != bool for x in inputs)


def assert_twin(case, dtype):
    op, inputs, options = case
    y, g, gradients = run(case, dtype)
    wanted = wanted_of(inputs)
    inputs, options = ([rounded(x, dtype) for x in part] for part in (inputs, options))
    twin, saved = TWINS[op].forward(np, *inputs, *options)
    twins = TWINS[op].backward(np, g.astype("f8"), saved, wanted, *options)
    for ours, theirs in zip([y, *gradients], [twin, *twins], strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == dtype and ours.shape == theirs.shape
            size = np.abs(theirs).max(initial=1)
            np.testing.assert_allclose(
                ours.get().astype("f8"), theirs, rtol=0, atol=20 * ml_dtypes.finfo(dtype).eps * size
            )


@by_dtype
@pytest.mark.parametrize("case", CASES)
def test_a_kernel_is_its_twin(case, dtype):
    assert_twin(case, dtype)


@pytest.mark.parametrize("case", LARGE, ids=test_backend_shared_layers.name)
def test_the_same_bits_every_time(case):
    (y, _, gradients), (again, _, gradients_again) = run(case, np.dtype("f4")), run(case, np.dtype("f4"))
    for a, b in zip([y, *gradients], [again, *gradients_again]):
        assert a is b is None or (a == b).all()


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("op", ["linear", "layer_norm", "scaled_dot_product_attention", "conv"])
def test_what_is_not_wanted_is_none(op, wanted):
    case = next(case.values[0] for case in CASES if case.values[0][0] == op and case.values[0][1][2] is not None)
    wanted += (False,) * (len(case[1]) - 3)
    y, g, everything = run(case, np.dtype("f4"))
    inputs, options = ([on_gpu(x, "f4") for x in part] for part in case[1:])
    saved = cuda_table[op].forward(xp, *inputs, *options)[1]
    gradients = cuda_table[op].backward(xp, xp.asarray(g), saved, wanted, *options)
    for gx, want, complete in zip(gradients, wanted, everything):
        assert (gx == complete).all() if want else gx is None


def test_every_kernel_has_a_row():
    elsewhere = {
        "matmul",
        "conv_weight_grad",
        "quantized_linear",
    }  # see test_cupy_gemm, the catalogue, test_cupy_quantized
    named = {case.values[0][0] for case in CASES} | elsewhere
    written = {
        name
        for name, kernel in cuda_table.items()
        if isinstance(kernel, Kernel) and kernel is not shared_table.get(name)
    }
    assert written == named


ADAM = dict(lr=0.1, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.3, decoupled=False, step=2)
SGD = dict(lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.2, nesterov=False, first=False)
STEPS = {  # twin, kernel, arrays that are remembered, options
    "adam": (shared_optimizers.adam_step, "adam_step", 2, ADAM),
    "adamw": (shared_optimizers.adam_step, "adam_step", 2, ADAM | dict(decoupled=True, step=1)),
    "sgd": (shared_optimizers.sgd_step, "sgd_step", 0, SGD | dict(momentum=0, dampening=0, first=True)),
    "momentum": (shared_optimizers.sgd_step, "sgd_step", 1, SGD),
    "nesterov": (shared_optimizers.sgd_step, "sgd_step", 1, SGD | dict(dampening=0, nesterov=True, first=True)),
}


@by_dtype
@pytest.mark.parametrize(("twin", "kernel", "memory", "options"), STEPS.values(), ids=STEPS)
def test_a_step_of_many_parameters(twin, kernel, memory, options, dtype):
    """More than fit into one kernel, of all sizes, one of another dtype, one that lies transposed, one empty."""
    shapes = [(3,)] * 70 + [(5, 7), (0,), (optimizers.MAX_BLOCKS * 256 + 5,)]
    rows = [
        [*(R(*shape) for _ in range(2 + min(memory, 1))), *(R(*shape) ** 2 for _ in range(memory - 1))]
        for shape in shapes
    ]
    dtypes = [dtype] * 69 + [np.dtype("f8")] + [dtype] * 3
    ours = [[on_gpu(a, d) for a in row] for row, d in zip(rows, dtypes)]
    ours[70] = [a.T.copy().T for a in ours[70]]
    if not memory:
        ours = [[*row, None] for row in ours]
    cuda_table[kernel](xp, ours, **options)
    for row, found, d in zip(rows, ours, dtypes):
        row = [rounded(a, d) for a in row] + [None] * (len(found) - len(row))
        twin(np, *row, **options)
        for a, b in zip(found, row):
            if a is not None:
                size = np.abs(b).max(initial=1)
                np.testing.assert_allclose(a.get().astype("f8"), b, rtol=0, atol=20 * ml_dtypes.finfo(d).eps * size)


@pytest.mark.skipif(not SIMULATED, reason="a real GPU does not count")
@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW, lambda p: optim.SGD(p, momentum=0.9)])
def test_a_step_is_one_kernel_for_64_parameters(make):
    import cupy_sim

    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(50))).to("cuda")
    optimizer = make(model.parameters())
    model(Tensor(R(2, 3), dtype="f4", device="cuda")).sum().backward()
    optimizer.step()
    before = cupy_sim.count("launches")
    optimizer.step()
    assert cupy_sim.count("launches") == before + 2


def test_attention_keeps_no_matrix_of_scores():
    sizes = []

    class Listening(cupy.cuda.MemoryHook):
        name = "sizes"

        def malloc_preprocess(self, device_id, size, mem_size):
            sizes.append(size)

    case = attention(R(1, 1, 300, 4), R(1, 1, 300, 4), R(1, 1, 300, 4), is_causal=True)
    with Listening():
        run(case, np.dtype("f4"))
    assert 0 < max(sizes) <= 4 * 300 * 4  # bytes of a query, 4 numbers: no 300 × 300


@pytest.mark.parametrize(("size", "dtype"), [(4, "f8"), *((cuda_attention.SIZES[-1] + 1, dtype) for dtype in DTYPES)])
def test_attention_that_goes_the_way_written_for_both(size, dtype):
    assert_twin(attention(heads(5, size), heads(6, size), heads(6, 4), p=0.2), np.dtype(dtype))


@pytest.mark.skipif(not SIMULATED, reason="of the simulation")
def test_nothing_is_refused_while_a_graph_is_recorded():
    import cupy_sim

    for case in CASES:
        op, inputs, options = case.values[0]
        inputs, options = ([on_gpu(x, "f4") for x in part] for part in (inputs, options))
        for recording in (False, True):
            cupy_sim.capturing(recording)
            try:
                y, saved = cuda_table[op].forward(xp, *inputs, *options)
                cuda_table[op].backward(xp, y, saved, tuple(x is not None for x in inputs), *options)
            finally:
                cupy_sim.capturing(False)


MODELS = {
    "transformer": (
        lambda: nn.Sequential(nn.Embedding(7, 16), nn.TransformerEncoderLayer(16, 2, 32), nn.Linear(16, 7)),
        rng.integers(0, 7, (10, 5)),
    ),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 7)
        ),
        R(10, 3, 8, 8).astype("f4"),
    ),
}


@pytest.mark.skipif(not SIMULATED, reason="of the simulation")
@pytest.mark.parametrize(("make", "x"), MODELS.values(), ids=MODELS)
def test_a_training_step_can_be_recorded(make, x):
    import cupy_sim

    model, x = make().to("cuda"), xp.asarray(x)
    labels, optimizer = xp.asarray(rng.integers(0, 7, len(x))), optim.AdamW(model.parameters())
    for recording in (False, False, True):
        cupy_sim.capturing(recording)
        try:
            y = model(Tensor(x) if x.dtype == np.float32 else x)
            F.cross_entropy(y if y.ndim == 2 else y[:, 0], labels).backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        finally:
            cupy_sim.capturing(False)


MIXED = {
    "layer_norm": (lambda x, w: F.layer_norm(x, 4, w[0], w[1]), (3, 4), (2, 4)),
    "linear": (F.linear, (3, 4), (2, 4)),
    "matmul": (lambda x, w: x @ w, (2, 3, 4), (4, 5)),
    "conv": (lambda x, w: F.conv1d(x, w, w[:, 0, 0]), (2, 3, 9), (4, 3, 2)),
    "conv, its bias": (lambda x, w: F.conv1d(x, Tensor(np.ones((2, 3, 2), "f2"), device=x.device), w), (2, 3, 9), (2,)),
    "attention": (lambda x, w: F.scaled_dot_product_attention(x, w, w), (3, 4), (5, 4)),
}


@pytest.mark.parametrize("dtypes", [("f2", "f4"), ("f4", "f2")])
@pytest.mark.parametrize(("op", "x", "w"), MIXED.values(), ids=MIXED)
def test_inputs_of_two_dtypes(op, x, w, dtypes):
    x, w, results = R(*x), R(*w), []
    for device in ("cpu", "cuda"):
        leaves = [Tensor(a, True, dtype=d, device=device) for a, d in zip((x, w), dtypes)]
        y = op(*leaves)
        (y * y).sum().backward()
        results.append([y, *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*results):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=0.01 * np.abs(ours.numpy()).max())


def test_labels_and_ids_out_of_range_touch_nothing():
    x, labels = xp.asarray(R(3, 4).astype("f4")), xp.asarray([1, 4, -7])
    loss, saved = cuda_table["cross_entropy"].forward(xp, x, labels, None, -100, 0.0, "none")
    assert np.isnan(loss.get()).tolist() == [False, True, True]
    cuda_table["cross_entropy"].backward(xp, loss, saved, (True,), labels, None, -100, 0.0, "none")
    (gw,) = cuda_table["embedding"].backward(xp, xp.ones((3, 2), "f4"), (4, 2), (True,), labels)
    assert gw.sum(1).tolist() == [0, 2, 0, 0]


@pytest.mark.parametrize("shape", [(1, 70000, 100, 2), (70000, 3, 100, 2)])
def test_attention_of_very_many_heads_fits_into_a_grid(shape, monkeypatch):
    """Its second and third axis end at 65535.  (To run so many blocks would take a simulation minutes.)"""
    grids, q = [], xp.broadcast_to(xp.zeros((), "f4"), shape)
    monkeypatch.setattr(cuda_attention, "kernel", lambda *_, **__: Launch(grids))
    cuda_attention._run("attention", np.zeros((), cuda_attention.CALL), q, q, shape[2], tiles=2, squares=1)
    assert grids == [(2 * shape[0] * shape[1],)]


class Launch:
    """In place of a kernel, remembers grids."""

    def __init__(self, grids):
        self.grids = grids

    def __call__(self, grid, *given, **options):
        self.grids.append(grid)


@pytest.mark.skipif(not SIMULATED or "CUPY_SIM_ASAN" in os.environ, reason="of the simulation")
def test_in_reversed_order_and_with_every_access_checked():
    """These tests again, for float32, and those of masks, in a process where the threads run last to first, under
    AddressSanitizer."""
    asan = subprocess.check_output(["g++", "-print-file-name=libasan.so"], text=True).strip()
    if not Path(asan).exists():
        pytest.skip("g++ came without AddressSanitizer")
    files, chosen = [__file__, str(Path(__file__).with_name("test_cupy_random.py"))], "float32 or out_of_range or mask"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", chosen],
        env={
            **os.environ,
            "CUPY_SIM_ORDER": "reversed",
            "CUPY_SIM_ASAN": "1",
            "LD_PRELOAD": asan,
            "ASAN_OPTIONS": "detect_leaks=0",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
