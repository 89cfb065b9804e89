"""What people type on a Tensor is there and is torch's, or says what to type."""

import math
import operator

import numpy as np
import pytest

import minigrad as mg
from minigrad import methods, ops
from minigrad.elsewhere import ANYWHERE, METHODS

X = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])
M = np.array([[True, False, True], [False, True, False]])
IDS = np.array([[0, 2], [1, 1]])

CALLS = [  # of x and y, as torch's users write them
    lambda x, y: x.exp() + x.abs().log() + x.pow(2) + x.square() + (x * 0.1).tan() + x.sign() + x.neg(),
    lambda x, y: (x.mul(y), x.add(y), x.sub(y), x.div(y), x.matmul(y.t()), x.mm(y.T), x.maximum(y), x.minimum(y)),
    lambda x, y: (x.sum(dim=1, keepdim=True), x.mean(-1), x.prod(0), x.cumsum(1), x.cumprod(dim=1), x.amax(1)),
    lambda x, y: (x.view(3, 2), x.view(-1), x.view((6,)), x.reshape(1, 6), x.flatten(), x.view_as(y), x.reshape_as(y)),
    lambda x, y: (x.unsqueeze(1).squeeze(1), x.unsqueeze(-1), x.permute(1, 0), x.permute((1, 0)), x.permute(0, 1)),
    lambda x, y: (x[:1].expand(4, 3), x[:1].expand(2, -1, 3), x[:1].expand_as(y), x.transpose(0, 1), x.t(), x.mT),
    lambda x, y: (x.flip(0, 1), x.flip((1,)), x.tile(2, 3), x.tile((2,)), x.roll(1, 1), x.repeat_interleave(2, 1)),
    lambda x, y: (x.clamp(-1, 1), x.clamp(min=0), x.clamp(max=0.5), x.clip(-1, 1), x.relu(), x.sigmoid(), x.tanh()),
    lambda x, y: (*x.split(1), *x.chunk(2, dim=1), *x.unbind(1), x.diagonal(), x.trace(), x.tril(), x.triu(1)),
    lambda x, y: (*x.topk(2), *x.sort(dim=0), x.argsort(1), x.argmax(1), x.argmin(0), x.max(), x.min()),
    lambda x, y: (x.float(), x.double(), x.half(), x.bfloat16(), x.long(), x.int(), x.short(), x.bool(), x.type_as(y)),
    lambda x, y: (x.to(dtype=y.dtype), x.to("cpu"), x.cpu(), x.clone(), x.contiguous(), x.detach(), +x, -x, abs(x)),
    lambda x, y: (x % 2, 7 % y.detach(), x.detach() % y.detach(), x.detach().remainder(2)),
    lambda x, y: (x.detach() // y.detach(), 2 // y.detach(), x.detach() // 2, x.detach().floor_divide(y.detach())),
    lambda x, y: (x.floor(), x.ceil(), x.trunc(), x.round(), x.round(decimals=1), x.frac(), x.fmod(y)),
    lambda x, y: (x.eq(y), x.ne(y), x.lt(y), x.le(y), x.gt(y), x.ge(y), x.isnan(), x.isinf(), x.isfinite()),
    lambda x, y: ((x > 0) ^ (y > 0), True ^ (x > 0), (x > 0).any(), (x > 0).all(1), x.logical_not(), (x > 1).sum()),
    lambda x, y: (x.norm(), x.logsumexp(1), x.softmax(1), x.log_softmax(-1), x.lerp(y, 0.3), x.addcmul(y, x, value=2)),
    lambda x, y: (x.new_zeros(2, 3), x.new_zeros((2,)), x.new_ones(4), x.new_full((2, 2), 7.0), x.new_tensor([1, 2])),
    lambda x, y: (x.where(x > 0, y), x[0].outer(y[0]), x[0].dot(y[1])),
    lambda x, y: (x.arctan2(y), x.atan2(y), x.sinh(), x.cosh(), x.asinh(), x.abs().log1p()),
    lambda x, y: (x.abs().lgamma(), x.abs().xlogy(y.abs()), x.hypot(y), x.erf(), x.expm1(), x.reciprocal(), y.sinc()),
]


def both(call, dtype="float64"):
    """What the call gives here and in torch, and the gradients of all that has one."""
    torch = pytest.importorskip("torch")
    found = []
    for make in (lambda a: mg.Tensor(a, requires_grad=True), lambda a: torch.tensor(a, requires_grad=True)):
        x, y = make(X.astype(dtype)), make(X[::-1].astype(dtype).copy() * 0.75 + 0.125)
        results = call(x, y)
        results = list(results) if isinstance(results, tuple) else [results]
        total = sum((r.double() ** 2).sum() for r in results if r.requires_grad)
        if getattr(total, "requires_grad", False):
            total.backward()
        found.append((results, [None if p.grad is None else p.grad for p in (x, y)]))
    return found


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
def test_methods_and_operators_are_those_of_torch(call):
    (ours, our_grads), (theirs, their_grads) = both(call)
    assert len(ours) == len(theirs)
    for i, (mine, right) in enumerate(zip(ours, theirs, strict=True)):
        assert isinstance(mine, mg.Tensor), i
        assert mine.dtype.name == str(right.dtype).removeprefix("torch."), i
        np.testing.assert_allclose(
            mine.detach().double().numpy(), right.detach().double().numpy(), 1e-12, 1e-14, err_msg=f"result {i}"
        )
    for mine, right in zip(our_grads, their_grads, strict=True):
        if right is not None and right.abs().sum() > 0:
            np.testing.assert_allclose(mine.numpy(), right.numpy(), 1e-10, 1e-12)


def test_indexing_methods_are_those_of_torch():
    torch = pytest.importorskip("torch")
    x, t, mask, ids = mg.Tensor(X), torch.tensor(X), torch.tensor(M), torch.tensor(IDS)
    for mine, right in [
        (x.masked_fill(M, -1.0), t.masked_fill(mask, -1.0)),
        (x.masked_select(M), t.masked_select(mask)),
        (x.gather(1, IDS), t.gather(1, ids)),
        (x.index_select(1, IDS[0]), t.index_select(1, ids[0])),
        (x.take(IDS), t.take(ids)),
        (x.scatter(1, IDS[:1], mg.Tensor(X[:, :2])), t.scatter(1, ids[:1], t[:, :2])),
        (x.count_nonzero(1), t.count_nonzero(1)),
    ]:
        np.testing.assert_array_equal(mine.numpy(), right.numpy())


def test_every_op_is_a_method_or_stands_in_the_table():
    every = {*ops.__all__, *ops.LATER, *ops.TORCH_NAMES}
    assert every >= methods.NO_METHODS
    for name in every:
        there = name in vars(mg.Tensor) and name not in ANYWHERE | METHODS
        assert there is (name not in methods.NO_METHODS), name
    x = mg.Tensor(X)
    assert x.hypot(x).shape == x.shape and "Methods" not in repr(type(x).cumprod)  # read when first used
    assert mg.Tensor.cumprod is ops.cumprod and mg.Tensor.acos is ops.arccos


def test_sizes_have_the_names_of_both():
    x = mg.zeros((2, 3), "float16")
    assert (x.dim(), x.ndimension(), x.numel(), x.nelement(), x.element_size(), x.itemsize, x.nbytes) == (
        *(2, 2, 6, 6),
        *(2, 2, 12),
    )
    assert x.is_floating_point() and not x.long().is_floating_point()
    assert x.requires_grad_().requires_grad and not x.requires_grad_(False).requires_grad
    w = mg.Tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="fill_ and zero_ would write into a Tensor that requires a gradient"):
        w.zero_()
    with mg.no_grad():
        assert w.zero_() is w and w.item() == 0
    assert x.fill_(3).tolist() == [[3] * 3] * 2 and x.zero_().tolist() == [[0] * 3] * 2


def test_a_copy_is_one_and_gradients_flow_through_it():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    for copied in (x.clone(), x.copy(), +x):
        assert copied.data is not x.data and copied.requires_grad and copied.dtype == x.dtype
        assert mg.grad((copied * copied).sum(), x).tolist() == [2, 4]
    whole = mg.tensor([True, False])
    assert whole.clone().dtype == bool


@pytest.mark.parametrize(
    ("form", "text"), [(".3f", "2.500"), ("", "2.5"), (">8.1e", " 2.5e+00"), ("08.2f", "00002.50")]
)
def test_a_loss_is_formatted_as_a_number(form, text):
    for value in (mg.Tensor(2.5, requires_grad=True), mg.Tensor(2.5, requires_grad=True) * 1, mg.tensor(2.5)):
        assert format(value, form) == text
    assert f"{mg.tensor([2.5]):.3f}" == "2.500" and f"{mg.tensor(7):03d}" == "007"


def test_several_numbers_are_formatted_as_a_whole_or_refused():
    x = mg.tensor([1.0, 2.0])
    assert f"{x}" == repr(x)
    with pytest.raises(TypeError, match=r"the format '.2f' is for one number, and this Tensor has shape \(2,\)"):
        f"{x:.2f}"


def test_divmod_is_that_of_python_and_polygamma_that_of_mathematics():
    for a, b in [(7, 3), (-7, 3), (7.5, -2.0), (-7, -3)]:
        for pair in (divmod(mg.tensor(a), b), divmod(a, mg.tensor(b)), divmod(mg.tensor(a), mg.tensor(b))):
            assert tuple(part.item() for part in pair) == divmod(a, b)
    np.testing.assert_allclose(
        mg.Tensor([1.0, 2.0], dtype="float64").polygamma(1).numpy(), [1.6449340668482264, 0.6449340668482264]
    )


def test_a_whole_number_is_an_index():
    n = mg.tensor(2)
    assert [7, 8, 9][n] == 9 and list(range(n)) == [0, 1] and operator.index(mg.tensor([1])) == 1 and hex(n) == "0x2"
    assert np.arange(5)[n] == 2 and math.floor(mg.tensor(2.5)) == 2
    for bad, text in [
        (mg.tensor(2.0), r"type int\(x\)"),
        (mg.tensor([1, 2]), r"shape \(2,\)"),
        (mg.tensor(True), "bool"),
    ]:
        with pytest.raises(TypeError, match=f"an index is one whole number, not.*{text}"):
            operator.index(mg.tensor(bad))


def test_python_asks_for_rounding_and_membership():
    x = mg.Tensor([1.26, 2.0])
    np.testing.assert_allclose([round(x).numpy(), round(x, 1).numpy()], [[1, 2], [1.3, 2]])
    assert 2.0 in x and 3 not in x and 2.0 in mg.Tensor([[1.0], [2.0]])


@pytest.mark.parametrize(
    ("use", "error", "text"),
    [
        (lambda x: x.repeat(2), AttributeError, r"'repeat'.*x.tile\(2, 3\), torch's repeat, or mg.repeat"),
        (lambda x: x.equal(x), AttributeError, r"mg.array_equal\(x, y\).*or x == y"),
        (lambda x: x.add_(1), AttributeError, "type x \\+= y"),
        (lambda x: x.type("torch.FloatTensor"), AttributeError, "x.dtype"),
        (lambda x: x.view("int64"), TypeError, r"x.view\('int64'\) would read the bits as another dtype: type x.to"),
        (lambda x: x.view(4, 5), ValueError, "reshape"),
        (lambda x: x.expand(3, 3), ValueError, "broadcast_to"),
        (lambda x: x[None].t(), ValueError, r"is for matrices, not for shape \(1, 2, 3\): type x.mT"),
        (lambda x: x.to(), TypeError, r"x.to\(\) needs a device"),
        (lambda x: x.to("float33"), ValueError, "'float33' is neither a device"),
        (lambda x: x ^ x, TypeError, r"\^ is for booleans"),
        (lambda x: x.is_cuda, AttributeError, "type x.device == 'cuda'"),
    ],
)
def test_what_is_refused_says_what_to_type(use, error, text):
    with pytest.raises(error, match=text):
        use(mg.Tensor(X))


@pytest.mark.parametrize("sign", ["//", "%", "^"])
def test_in_place_operators_write_or_refuse(sign):
    operation = {"//": operator.ifloordiv, "%": operator.imod, "^": operator.ixor}[sign]
    x = mg.tensor([True, False]) if sign == "^" else mg.tensor([7, -7])
    before = x.data
    after = operation(x, True if sign == "^" else 2)
    assert after is x and x.data is before
    assert x.tolist() == {"//": [3, -4], "%": [1, 1], "^": [False, True]}[sign]
    if sign != "^":
        with pytest.raises(RuntimeError, match=f"x {sign}= y would write into a Tensor that is a leaf"):
            operation(mg.Tensor([1.0], requires_grad=True), 2)
