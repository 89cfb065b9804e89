"""What to type in place of a name that is not here gives what that name gives in torch, NumPy or SciPy."""

import importlib
import warnings

import numpy as np
import pytest
from test_elsewhere import LINES, space

import minigrad as mg
from minigrad import elsewhere

torch = pytest.importorskip("torch")
F = torch.nn.functional


def parts(y):
    """The arrays of a result, of tuples and lists of any depth."""
    if isinstance(y, (tuple, list)) and not all(isinstance(n, (int, float)) for n in y):
        return [array for part in y for array in parts(part)]
    y = torch.view_as_real(y) if isinstance(y, torch.Tensor) and y.is_complex() else y
    y = y.detach().to_dense() if isinstance(y, torch.Tensor) else y.detach() if isinstance(y, mg.Tensor) else y
    y = np.asarray(y.numpy() if hasattr(y, "numpy") else y)
    return [np.stack([y.real, y.imag], -1) if y.dtype.kind == "c" else y]


def of_lu(t, s):
    """The factors that torch packs into one, whose pivots count from 1."""
    factors, pivots = t.linalg.lu_factor(s["A"])
    return factors, pivots - 1


def of_ldl(t, s):
    """L, D and the order of the rows, which stays for a matrix that is positive definite."""
    packed, _ = t.linalg.ldl_factor(s["A"])
    return packed.tril(-1) + t.eye(3), packed.diagonal().diag(), t.arange(3)


def turned(vectors):
    """Singular vectors, each of which may have either sign."""
    return vectors * torch.sign(vectors[0])


def of_svd(u, s, v):
    return turned(u), s, turned(v)


def backward(t, y, x):
    return t.autograd.grad(y, x)[0]


def unpooled(s, dims, kernel, size):
    """Two numbers put where they came from."""
    x, ids = (given.reshape((1,) * (dims + 1) + (2,)) for given in (s["v"][:2], s["ids"]))
    y = getattr(F, f"max_unpool{dims}d")(x, ids, kernel, output_size=size)
    return y.reshape(size)


THEIRS = {  # by the last word of the name: what their function gives, of torch and the names of `space`
    "adjoint": lambda t, s: t.adjoint(s["x"]),
    "angle": lambda t, s: t.angle(s["x"]),
    "apply_": lambda t, s: s["x"].detach().clone().apply_(round),
    "as_strided": lambda t, s: t.as_strided(s["x"], (2, 3), (1, 2)),
    "as_tensor": lambda t, s: t.as_tensor(s["v"]),
    "asanyarray": lambda t, s: np.asanyarray(s["v"].numpy()),
    "asarray": lambda t, s: t.asarray(s["v"]),
    "autograd": lambda t, s: backward(t, s["loss"], s["x"]),
    "bartlett_window": lambda t, s: t.bartlett_window(3),
    "bitwise_and": lambda t, s: t.bitwise_and(s["ids"], 6),
    "bitwise_invert": lambda t, s: t.bitwise_not(s["ids"]),
    "bitwise_left_shift": lambda t, s: t.bitwise_left_shift(s["ids"], 3),
    "bitwise_not": lambda t, s: t.bitwise_not(s["ids"]),
    "bitwise_or": lambda t, s: t.bitwise_or(s["ids"], 6),
    "bitwise_right_shift": lambda t, s: t.bitwise_right_shift(s["ids"], 3),
    "bitwise_xor": lambda t, s: t.bitwise_xor(s["ids"], 6),
    "blackman_window": lambda t, s: t.blackman_window(3),
    "byteswap": lambda t, s: s["x"].detach().numpy().byteswap(),
    "cdouble": lambda t, s: s["x"].cdouble().real,
    "cfloat": lambda t, s: s["x"].cfloat().real,
    "chain_matmul": lambda t, s: t.chain_matmul(s["x"], s["y"]),
    "chalf": lambda t, s: s["x"].chalf().real,
    "cholesky": lambda t, s: s["A"].cholesky(),
    "cholesky_ex": lambda t, s: t.linalg.cholesky_ex(s["A"])[0],
    "cholesky_inverse": lambda t, s: t.cholesky_inverse(s["L"]),
    "clamp": lambda t, s: t.clamp(s["x"], 0.5, 1.5),
    "clamp_max": lambda t, s: t.clamp_max(s["x"], 1.5),
    "clamp_min": lambda t, s: t.clamp_min(s["x"], 0.5),
    "complex": lambda t, s: t.complex(s["x"], s["y"]),
    "conj": lambda t, s: t.conj(s["x"]),
    "conj_physical": lambda t, s: t.conj_physical(s["x"]),
    "conjugate": lambda t, s: np.conjugate(s["x"].detach().numpy()),
    "constant_pad_nd": lambda t, s: t.constant_pad_nd(s["x"], (1, 1)),
    "det": lambda t, s: t.det(s["A"]),
    "diagonal_scatter": lambda t, s: t.diagonal_scatter(s["x"], s["values"]),
    "div_no_nan": lambda t, s: s["x"] / s["y"],
    "eig": lambda t, s: np.linalg.eig(s["A"].numpy()),
    "eigvals": lambda t, s: np.linalg.eigvals(s["A"].numpy()),
    "equal": lambda t, s: t.equal(s["x"], s["y"]),
    "expand": lambda t, s: s["x"].expand(3, -1),
    "fft": lambda t, s: t.fft.fft(s["x"]),
    "fill": lambda t, s: t.fill(s["x"], 3.0),
    "frexp": lambda t, s: t.frexp(s["x"]),
    "gcd": lambda t, s: t.gcd(s["ids"], t.tensor(4)),
    "geqrf": lambda t, s: t.geqrf(s["A"]),
    "ger": lambda t, s: t.ger(s["v"], s["v"]),
    "gradient": lambda t, s: t.gradient(s["v"]),
    "grid_sampler_2d": lambda t, s: t.grid_sampler_2d(s["image"], s["grid"], 0, 0, False),
    "grid_sampler_3d": lambda t, s: t.grid_sampler_3d(s["volume"], s["grid3"], 0, 0, False),
    "H": lambda t, s: s["x"].H,
    "hamming_window": lambda t, s: t.hamming_window(3),
    "hann_window": lambda t, s: t.hann_window(3),
    "histc": lambda t, s: t.histc(s["x"], 3),
    "histogram": lambda t, s: t.histogram(s["x"].detach(), 3),
    "histogramdd": lambda t, s: [
        t.histogramdd(s["x"].detach(), [10] * 3).hist,
        *t.histogramdd(s["x"].detach(), [10] * 3).bin_edges,
    ],
    "householder_product": lambda t, s: t.linalg.householder_product(*t.geqrf(s["A"])),
    "i0": lambda t, s: t.special.i0(s["x"]),
    "identity": lambda t, s: np.identity(3),
    "igamma": lambda t, s: t.igamma(s["x"], s["y"]),
    "igammac": lambda t, s: t.igammac(s["x"], s["y"]),
    "imag": lambda t, s: np.imag(s["x"].detach().numpy()),
    "index_put": lambda t, s: s["x"].index_put((s["ids"],), s["x"][:2]),
    "index_reduce": lambda t, s: t.index_reduce(s["x"], 0, s["ids"], s["x"][:2], "mean"),
    "inv_ex": lambda t, s: t.linalg.inv_ex(s["A"])[0],
    "inverse": lambda t, s: t.inverse(s["A"]),
    "is_contiguous": lambda t, s: s["x"].is_contiguous(),
    "is_cuda": lambda t, s: s["x"].is_cuda,
    "is_floating_point": lambda t, s: t.is_floating_point(s["x"]),
    "is_nonzero": lambda t, s: t.is_nonzero(s["v"][0]),
    "is_sparse": lambda t, s: s["x"].is_sparse,
    "is_tensor": lambda t, s: t.is_tensor(s["x"]),
    "isreal": lambda t, s: t.isreal(s["x"]),
    "istft": lambda t, s: s["v"],
    "kaiser_window": lambda t, s: t.kaiser_window(3),
    "lcm": lambda t, s: t.lcm(s["ids"], t.tensor(4)),
    "ldl_factor": of_ldl,
    "ldl_factor_ex": of_ldl,
    "ldl_solve": lambda t, s: t.linalg.ldl_solve(*t.linalg.ldl_factor(s["A"]), s["v"].double()[:, None])[:, 0],
    "linalg.lu": lambda t, s: t.linalg.lu(s["A"]),
    "linear_cross_entropy": lambda t, s: F.linear_cross_entropy(s["x"], s["A"], s["ids3"]),
    "lstsq": lambda t, s: np.linalg.lstsq(s["A"].numpy(), s["v"].numpy()),
    "anywhere.lu": of_lu,
    "lu_factor": of_lu,
    "lu_factor_ex": of_lu,
    "lu_solve": lambda t, s: t.linalg.lu_solve(*t.linalg.lu_factor(s["A"]), s["v"].double()[:, None])[:, 0],
    "lu_unpack": lambda t, s: t.lu_unpack(*t.linalg.lu_factor(s["A"])),
    "mH": lambda t, s: s["x"].mH,
    "masked": lambda t, s: t.masked.sum(s["x"], mask=s["mask"]),
    "masked_scatter": lambda t, s: t.masked_scatter(s["x"], s["mask"], s["values"]),
    "matrix_transpose": lambda t, s: np.linalg.matrix_transpose(s["A"].numpy()),
    "max_pool2d_with_indices_backward": lambda t, s: backward(t, F.max_pool2d(s["image"], 2).sum(), s["image"]),
    "max_unpool1d": lambda t, s: unpooled(s, 1, 2, (4,)),
    "max_unpool2d": lambda t, s: unpooled(s, 2, (4, 2), (4, 4)),
    "max_unpool3d": lambda t, s: unpooled(s, 3, (2, 2, 1), (2, 2, 2)),
    "msort": lambda t, s: t.msort(s["x"]),
    "narrow": lambda t, s: t.narrow(s["x"], 1, 1, 2),
    "native_batch_norm": lambda t, s: t.native_batch_norm(s["x"], None, None, None, None, True, 0.1, 1e-5)[0],
    "native_group_norm": lambda t, s: t.native_group_norm(s["image"], None, None, 1, 4, 16, 2, 1e-5)[0],
    "native_layer_norm": lambda t, s: t.native_layer_norm(s["x"], (3,), None, None, 1e-5)[0],
    "newaxis": lambda t, s: s["x"].detach().numpy()[np.newaxis],
    "nextafter": lambda t, s: t.nextafter(s["x"], t.full_like(s["x"], t.inf)),
    "nonzero_static": lambda t, s: t.nonzero_static(s["x"], size=9),
    "numel": lambda t, s: t.numel(s["x"]),
    "ormqr": lambda t, s: t.ormqr(*t.geqrf(s["A"]), s["A"]),
    "pca_lowrank": lambda t, s: of_svd(*t.pca_lowrank(s["x"])),
    "pdist": lambda t, s: t.pdist(s["x"]),
    "pinverse": lambda t, s: t.pinverse(s["x"]),
    "polar": lambda t, s: t.polar(s["x"], s["y"]),
    "positive": lambda t, s: t.positive(s["x"]),
    "put": lambda t, s: s["x"].put(s["ids"], s["v"][:2].double()),
    "qr": lambda t, s: t.qr(s["x"]),
    "range": lambda t, s: t.range(1, 3),
    "real": lambda t, s: t.real(s["x"]),
    "renorm": lambda t, s: t.renorm(s["x"], 2, 0, 2.0),
    "repeat": lambda t, s: (s["x"].repeat(2, 3), s["x"].detach().numpy().repeat(2)),
    "resize": lambda t, s: s["x"].detach().clone().resize_(9),
    "resize_": lambda t, s: s["x"].detach().clone().resize_(9),
    "resolve_conj": lambda t, s: t.resolve_conj(s["x"]),
    "resolve_neg": lambda t, s: t.resolve_neg(s["x"]),
    "retain_grad": lambda t, s: backward(t, s["loss"], s["x"]),
    "row_stack": lambda t, s: t.row_stack([s["x"], s["y"]]),
    "rsub": lambda t, s: t.rsub(s["x"], s["y"]),
    "scalar_tensor": lambda t, s: t.scalar_tensor(3.0),
    "scaled_mm": lambda t, s: (s["x"] * 0.5) @ (s["y"] * 1.5),
    "scatter_reduce": lambda t, s: t.scatter_reduce(s["v"], 0, s["ids"], s["v"][:2], "sum"),
    "select": lambda t, s: t.select(s["x"], 1, 1),
    "select_scatter": lambda t, s: t.select_scatter(s["x"], s["values"], 0, 1),
    "shape": lambda t, s: np.shape(s["x"].detach().numpy()),
    "signal": lambda t, s: t.signal.windows.hann(3),
    "slice": lambda t, s: s["x"][1:4],
    "slice_scatter": lambda t, s: t.slice_scatter(s["x"], s["values"][None], 0, 1, 2),
    "solve_ex": lambda t, s: t.linalg.solve_ex(s["A"], s["v"].double())[0],
    "sparse": lambda t, s: t.sparse.mm(s["x"].to_sparse(), s["y"]),
    "special": lambda t, s: t.special.erf(s["x"]),
    "split_with_sizes": lambda t, s: t.split_with_sizes(s["x"], [1, 2]),
    "std_mean": lambda t, s: t.std_mean(s["x"]),
    "stft": lambda t, s: t.stft(s["v"], 2, 1, window=t.ones(2), center=False, return_complex=True),
    "storage": lambda t, s: s["x"],
    "stride": lambda t, s: s["x"].stride(),
    "sum_to_size": lambda t, s: s["x"].sum_to_size(1, 3),
    "svd": lambda t, s: of_svd(*t.svd(s["x"])),
    "svd_lowrank": lambda t, s: of_svd(*t.svd_lowrank(s["x"])),
    "symeig": lambda t, s: t.linalg.eigh(s["A"]),
    "tensor_scatter_nd_update": lambda t, s: s["x"].index_copy(0, s["ids"], s["x"][:2]),
    "to_dense": lambda t, s: s["x"].to_dense(),
    "to_sparse": lambda t, s: s["x"].to_sparse(),
    "triangular_solve": lambda t, s: t.triangular_solve(s["v"].double()[:, None], s["L"], upper=False)[0],
    "unique_consecutive": lambda t, s: t.unique_consecutive(s["v"]),
    "unsafe_chunk": lambda t, s: t.unsafe_chunk(s["x"], 3),
    "unsafe_split": lambda t, s: t.unsafe_split(s["x"], 3),
    "unsafe_split_with_sizes": lambda t, s: t.unsafe_split_with_sizes(s["x"], [1, 2]),
    "upsample": lambda t, s: F.upsample(s["image"], scale_factor=2),
    "upsample_bilinear": lambda t, s: F.upsample_bilinear(s["image"], scale_factor=2),
    "upsample_nearest": lambda t, s: F.upsample_nearest(s["image"], scale_factor=2),
    "vander": lambda t, s: t.vander(s["v"]),
    "var_mean": lambda t, s: t.var_mean(s["x"]),
    "view_as_complex": lambda t, s: (s["x"][:, 0], s["x"][:, 1], s["x"][:, 2]),
    "view_as_real": lambda t, s: t.view_as_real(s["x"] + 0j),
    **{
        name: lambda t, s, sign=sign: sign(s["x"], s["y"])
        for name, sign in {
            "add_": torch.Tensor.add,
            "div_": torch.Tensor.div,
            "mul_": torch.Tensor.mul,
            "sub_": torch.Tensor.sub,
        }.items()
    },
    **{
        f"{kind}Tensor": lambda t, s, dtype=dtype: s["v"].to(getattr(t, dtype))
        for kind, dtype in {
            "Bool": "bool",
            "Double": "float64",
            "Float": "float32",
            "Half": "float16",
            "Int": "int32",
            "Long": "int64",
        }.items()
    },
    **{name: lambda t, s, name=name: getattr(np, name) for name in ("e", "inf", "nan", "pi")},
    **{
        name: lambda t, s: s["x"].detach()
        for name in ("detach_", "numpy", "pin_memory", "share_memory_", "stop_gradient")
    },
    "from_numpy": lambda t, s: t.from_numpy(np.ones(3)),
    **{name: lambda t, s: t.zeros(2, 3) for name in ("empty", "empty_permuted", "empty_strided")},
    **{name: lambda t, s: t.zeros(2, 3) for name in ("new_empty", "new_empty_strided")},
    "empty_like": lambda t, s: t.zeros_like(s["x"]),
}
DRAWN = {  # the line, of the ranks of the numbers drawn: the distribution of torch whose quantiles these are to be
    "cauchy": torch.distributions.Cauchy(0, 1),
    "exponential": torch.distributions.Exponential(1.0),
    "log_normal": torch.distributions.LogNormal(1.0, 0.5),
    "normal": torch.distributions.Normal(1.0, 0.5),
    "uniform": torch.distributions.Uniform(0.5, 1.5),
}
NOT_COMPARED = {  # what is not a number, is drawn at random, or is another's way to the same end
    "minigrad": """
        Generator Module Size Variable array backends device dtype finfo float32 float64 float16 bfloat16 int64 int32
        int16 int8 uint8 long int short float double half bool get_default_dtype func iinfo inference_mode jit compile
        lax layers models poisson promote_types randint_like random result_type set_grad_enabled set_printoptions
        tree_util utils
        """,
    "minigrad.functional": "gumbel_softmax multi_head_attention_forward",
    "anywhere": "geometric",
    "x": "data_ptr get_device grad_fn indices normal_ type uniform_ values",
}


def theirs(name):
    return THEIRS.get(name.removeprefix("minigrad."), THEIRS.get(name.rpartition(".")[2]))


def test_every_line_that_stands_for_numbers_is_compared():
    modules = [f"minigrad.{room}" for room in ("nn", "nn.utils", "optim", "schedule", "data", "metrics")]
    for name in LINES:
        place, _, word = name.rpartition(".")
        told = [theirs(name) is not None, word in DRAWN, word in NOT_COMPARED.get(place, "").split(), place in modules]
        assert sum(told) == 1, (name, told)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in LINES if theirs(name)])
def test_a_line_gives_what_the_name_gives(name):
    ours = space()
    if "scipy." in LINES[name]:
        ours["scipy"] = pytest.importorskip("scipy")
        for room in ("linalg", "special"):
            importlib.import_module(f"scipy.{room}")
    given = {
        key: torch.tensor(x.detach().numpy(), requires_grad=x.requires_grad)
        for key, x in ours.items()
        if isinstance(x, mg.Tensor)
    }
    given["loss"] = (given["x"] * given["x"]).sum()
    y = eval(LINES[name], ours)
    word = name.rpartition(".")[2]
    if word in ("svd", "svd_lowrank", "pca_lowrank"):
        y = of_svd(*[torch.tensor(part.detach().numpy()) for part in y])
    found, expected = parts(y), parts(theirs(name)(torch, given))
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", DRAWN)
def test_a_line_draws_from_the_distribution(name):
    """Of evenly spaced ranks in place of random numbers, the line makes the quantiles of the distribution."""
    ranks = (torch.arange(999, dtype=torch.float64) + 0.5) / 999
    normal = torch.distributions.Normal(0, 1).icdf(ranks)

    class Drawn:
        def __getattr__(self, name):
            return getattr(mg, name)

        rand = staticmethod(lambda *shape: mg.Tensor(ranks.numpy()))
        randn = staticmethod(lambda *shape: mg.Tensor(normal.numpy()))

    y = np.sort(eval(elsewhere.ANYWHERE[name], space() | {"mg": Drawn()}).numpy())
    np.testing.assert_allclose(y, DRAWN[name].icdf(ranks).numpy(), rtol=1e-6, atol=1e-6)


def test_the_geometric_numbers_count_the_draws_until_the_first_success():
    y = eval(elsewhere.ANYWHERE["geometric"].replace("mg.rand(3)", "mg.rand(20000, rng=0)"), space()).numpy()
    counts = [(y == k).mean() for k in range(1, 5)]
    np.testing.assert_allclose(counts, [0.5, 0.25, 0.125, 0.0625], atol=0.01)


def test_gumbel_noise_is_drawn_for_every_entry():
    y = eval(elsewhere.PLACES["minigrad.functional"]["gumbel_softmax"], space() | {"x": mg.zeros((5000, 3))}).numpy()
    np.testing.assert_allclose(np.bincount(y.argmax(1)) / 5000, [1 / 3] * 3, atol=0.03)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", elsewhere.PLACES["minigrad.schedule"])
def test_a_schedule_gives_the_rates_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    ours = space()
    p = torch.nn.Parameter(torch.ones(1))
    steps = {"get_constant_schedule": (), "get_constant_schedule_with_warmup": (5,)}.get(name, (5, 50))
    optimizer = torch.optim.SGD([p], lr=0.1)
    theirs = getattr(transformers, name)(optimizer, *steps)
    line = elsewhere.PLACES["minigrad.schedule"][name]
    plan = eval(line, ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(50):
            assert plan.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-6)
            plan.step()
            theirs.step()
