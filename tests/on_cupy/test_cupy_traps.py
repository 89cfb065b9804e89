"""Where CuPy lets pass in silence what NumPy refuses, or waits for the device unasked."""

import numpy as np
import pytest
from two_backends import NAMED, cast, is_float, is_solved

import minigrad as mg
from minigrad import backend, optim
from minigrad import functional as F
from minigrad.tensor import Tensor

cuda = backend.get("cuda")
xp = cuda.xp


def waits(row):
    """Ops that must wait, for what is planned on the host or for a length that depends on values.

    So do matrix_exp, for how often it squares, and cuSOLVER's, for whether a matrix has an inverse.
    """
    return (
        row.op in ("to_device", "ctc", "masked_select", "bincount", "matrix_exp")
        or row.op == "take"
        and any(a.dtype == bool for a in row.inputs)
        or is_solved(row)
    )


@pytest.mark.parametrize("row", [p for p in NAMED if not waits(p.values[0])])
def test_no_op_waits(row, downloads):
    """Neither forward nor backward copies anything to the host, whether ids lie there or on the device."""
    given = [Tensor(a, True, device="cuda") if is_float(a) else xp.asarray(a) for a in cast(row.inputs, "f4")]
    y = row.call(*given)
    seed = xp.ones(y.shape, y.dtype)
    downloads()
    y = row.call(*given)
    if y.requires_grad:
        y.backward(Tensor(seed))
    assert downloads() == 0


X, WEIGHT = np.ones((3, 4), "f4"), np.ones((5, 2), "f4")
OUT_OF_RANGE = {
    "embedding": (
        lambda w, ids: F.embedding(ids, w),
        WEIGHT,
        [1, 5, 2],
        r"embedding: id 5 at position 1 .* 0 to 4 are allowed",
    ),
    "embedding, negative": (lambda w, ids: F.embedding(ids, w), WEIGHT, [-1], "embedding: id -1 at position 0"),
    "index": (lambda x, ids: x[ids], X, [0, 3], "index: id 3 at position 1 is out of range for axis 0"),
    "gather": (lambda x, ids: mg.gather(x, 1, ids), X, [[0], [4], [1]], r"gather: id 4 at position \(1, 0\)"),
    "scatter_add": (
        lambda x, ids: mg.scatter_add(x, 1, ids, x[:, :1]),
        X,
        [[0], [-5], [1]],
        r"scatter_add: id -5 at position \(1, 0\)",
    ),
    "cross_entropy": (F.cross_entropy, X, [0, 1, 4], "cross_entropy: id 4 at position 2 is out of range for 4 classes"),
    "nll_loss": (F.nll_loss, X, [0, -1, 3], "nll_loss: id -1 at position 1"),
}


@pytest.mark.parametrize(("op", "x", "ids", "message"), OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
def test_ids_out_of_range(op, x, ids, message, monkeypatch, downloads):
    """From the host: refused at once.  On the device: when the host next waits, or at once if it is told to."""
    x, ids = Tensor(x, device="cuda"), np.array(ids)
    with pytest.raises(IndexError, match=message):
        op(x, ids)
    downloads()
    y, earlier = op(x, xp.asarray(ids)), Tensor([1.0], device="cuda")
    assert downloads() == 0
    with pytest.raises(IndexError, match=message):
        earlier.item()  # not the wrong value itself: any
    assert earlier.item() == 1 and y.numpy().dtype == np.float32  # it was said, and said once
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    with pytest.raises(IndexError, match=message):
        op(x, xp.asarray(ids))


@pytest.mark.parametrize("way", [Tensor.numpy, Tensor.item, Tensor.tolist, float, bool, int, repr])
def test_whatever_reads_a_value_hears_of_it(way):
    F.embedding(xp.asarray([7]), Tensor(WEIGHT, device="cuda"))
    with pytest.raises(IndexError, match="id 7"):
        way(Tensor(1.0, device="cuda"))


def test_numbers_out_of_range():
    p = Tensor([0.5, 1.5], device="cuda")
    F.binary_cross_entropy(p, Tensor([0.0, 1.0], device="cuda"))
    with pytest.raises(ValueError, match="input must be probabilities, but goes from 0.5 to 1.5"):
        p.numpy()
    F.cosine_embedding_loss(Tensor(X, device="cuda"), Tensor(X, device="cuda"), xp.asarray([1, 0, -1]))
    with pytest.raises(ValueError, match="a target is 1 .* and -1"):
        p.numpy()


def test_more_checks_than_flags():
    weight, one = Tensor(WEIGHT, device="cuda"), xp.asarray([1])
    F.embedding(xp.asarray([9]), weight)
    with pytest.raises(IndexError, match="id 9"):
        for _ in range(5000):
            F.embedding(one, weight)


def test_what_is_recorded_is_not_checked(capturing):
    weight, bad = Tensor(WEIGHT, device="cuda"), xp.asarray([9])
    capturing(True)
    y = F.embedding(bad, weight)
    capturing(False)
    assert y.numpy().tolist() == [[1, 1]]


@pytest.mark.parametrize("place", [np, xp], ids=["numpy", "cupy"])
def test_writing_into_a_broadcast_array(place):
    shared = place.ones(3)
    x = Tensor(place.broadcast_to(shared, (2, 3)), requires_grad=True)
    for write in (lambda: x.copy_(2), lambda: optim.SGD([x])):
        with pytest.raises(ValueError, match=r"an array of shape \(2, 3\) that was broadcast cannot be written into"):
            write()
    assert shared.tolist() == [1, 1, 1]
    x.sum().backward()  # its gradient is one number, broadcast; but at rest it is an array of its own
    optim.clip_grad_value_([x], 0.5)
    assert x.grad.tolist() == [[0.5] * 3] * 2


REFUSED = {  # left to itself, CuPy returns something
    "solve": (lambda x: mg.linalg.solve(x, x), [[1, 2], [2, 4]], "singular"),
    "inv": (mg.linalg.inv, [[1, 2], [2, 4]], "singular"),
    "cholesky": (mg.linalg.cholesky, [[1, 2], [2, 1]], "not positive definite"),
    "svd": (mg.linalg.svd, [[1, np.nan], [2, 4]], "of 4 entries 1 are not finite"),
    "eigh": (mg.linalg.eigh, [[1, 2], [np.inf, 4]], "of 4 entries 1 are not finite"),
    "qr": (mg.linalg.qr, [[1, 2], [np.inf, 4]], "of 4 entries 1 are not finite"),
    "pinv": (mg.linalg.pinv, [[1, np.nan], [2, 4]], "of 4 entries 1 are not finite"),
    "det": (lambda x: mg.grad(mg.linalg.det(x), [x]), [[1, np.nan], [2, 4]], "of 4 entries 1 are not finite"),
}


@pytest.mark.parametrize(("op", "x", "message"), REFUSED.values(), ids=REFUSED)
def test_matrices_without_an_answer(op, x, message):
    for device in ("cpu", "cuda"):
        with pytest.raises(ValueError, match=message):
            op(Tensor(x, True, "f4", device))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64"])
def test_whole_numbers_of_every_size(dtype):
    found = []
    for device in ("cuda", "cpu"):
        x, ids = Tensor([[3, 0], [1, 2]], dtype=dtype, device=device), Tensor([1, 0], device=device)
        column = ids.reshape(2, 1)
        ys = [mg.scatter(x, 1, column, x[:, :1]), mg.scatter_add(x, 1, column, x[:, :1])]
        ys += [mg.index_copy(x, 0, ids, x), mg.index_add(x, 0, ids, x), mg.bincount(ids, x[0])]
        found.append([(y.dtype, y.tolist()) for y in ys])
        if x.dtype.kind == "i":
            with pytest.raises(ValueError, match="whole numbers have no negative powers"):
                x**-1
    assert found[0] == found[1]


def test_results_without_axes():
    x = Tensor(X, requires_grad=True, device="cuda")
    for y in (x.sum(), x.mean(), x[0, 0], x.max(), mg.norm(x), F.mse_loss(x, Tensor(X, device="cuda")), x.sum() * 2):
        assert isinstance(y.data, xp.ndarray) and y.shape == () and isinstance(y.item(), float)
    x.sum().backward()
    assert isinstance(x.grad.data, xp.ndarray)


def test_two_devices_do_not_mix():
    with pytest.raises(TypeError, match="operands live on cuda and on cpu"):
        Tensor(X, device="cuda") + Tensor(X)


NAMES = {
    "itself": lambda w: w,
    "index": lambda w: w[1],
    "slice": lambda w: w[1:, ::2],
    "T": lambda w: w.T,
    "reshape": lambda w: w.reshape(12),
    "detach": lambda w: w.detach(),
    "Tensor": lambda w: Tensor(w.data),
    "flip": lambda w: mg.flip(w, 0),
    "DLPack": mg.from_dlpack,
    "DLPack of a part": lambda w: mg.from_dlpack(w.data[1:]),
}


@pytest.mark.parametrize("name", NAMES)
def test_one_version_per_memory(name):
    """Whichever of two names of a memory was kept, and whichever was written into."""
    w = mg.ones((4, 3), device="cuda", requires_grad=True)
    part = NAMES[name](w)
    x = mg.ones(part.shape, device="cuda", requires_grad=True)
    for kept, written in ((part, w), (part, part.detach())):
        loss = (x * kept).sum()
        written.copy_(2.0)
        with pytest.raises(RuntimeError, match="written into after the forward pass"):
            loss.backward()
    loss = (mg.ones(w.shape, device="cuda", requires_grad=True) * w).sum()
    part.detach().copy_(3.0)
    with pytest.raises(RuntimeError, match="written into after the forward pass"):
        loss.backward()
    loss = (x * part).sum()
    mg.ones((4, 3), device="cuda").copy_(2.0)
    loss.backward()


def test_an_array_on_the_left_of_an_operator_and_writing_in_place():
    w = mg.ones(3, device="cuda", requires_grad=True)
    for y in (xp.ones(3, "f4") + w, xp.ones(3, "f4") @ w, xp.ones(3, "f4") < w, np.float64(2) * w):
        assert isinstance(y, Tensor) and y.device == "cuda"
    array = w.data
    with mg.no_grad():
        w -= 0.5
    assert w.data is array and w.tolist() == [0.5] * 3
