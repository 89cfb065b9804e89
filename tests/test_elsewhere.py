"""A name of torch, NumPy, JAX or Keras that is not here is answered with what to type, and every such line runs."""

import importlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import elsewhere, linalg, losses, nn, optim, schedule
from minigrad import functional as F


def space():
    """What the lines of the tables are written with."""
    rng = np.random.default_rng(0)
    x = mg.Tensor(rng.uniform(0.5, 2, (3, 3)), requires_grad=True)
    A = mg.Tensor(np.diag([3.0, 2.0, 4.0]) + 0.1)
    return {
        **{"mg": mg, "np": np, "F": F, "nn": nn, "optim": optim, "schedule": schedule, "losses": losses},
        **{"x": x, "y": mg.Tensor(rng.uniform(0.5, 2, (3, 3))), "v": mg.Tensor([1.0, 2.0, 3.0]), "A": A},
        **{"L": mg.linalg.cholesky(A), "W": mg.Tensor(rng.standard_normal((2, 3, 3))), "values": mg.Tensor(np.ones(3))},
        **{"i": 1, "n": 3, "low": 0.5, "high": 1.5, "mask": mg.Tensor(np.eye(3) > 0), "ids": mg.tensor([0, 1])},
        **{"ids3": mg.tensor([0, 1, 2]), "loss": mg.sum(x * x), "p": mg.Tensor([1.0], requires_grad=True)},
        **{"image": mg.Tensor(rng.random((1, 4, 4, 4)), True), "volume": mg.Tensor(rng.random((1, 2, 4, 4, 4)))},
        **{"normed": nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))},
        **{"grid": mg.zeros((1, 2, 2, 2), "float64"), "grid3": mg.zeros((1, 2, 2, 2, 3), "float64")},
    }


LINES = {
    f"{place}.{name}": line
    for place, table in [("anywhere", elsewhere.ANYWHERE), ("x", elsewhere.METHODS), *elsewhere.PLACES.items()]
    for name, line in table.items()
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_every_line_runs(line):
    names = space()
    if "scipy." in line:
        names["scipy"] = pytest.importorskip("scipy")
        importlib.import_module("scipy.linalg")
        importlib.import_module("scipy.special")
    assert eval(line, names) is not None


def test_nothing_in_the_tables_is_there():
    for name in elsewhere.ANYWHERE:
        assert name not in elsewhere._names("minigrad"), f"{name} is an op by now: take it from the table"
    for place, table in elsewhere.PLACES.items():
        there = {*elsewhere._names(place), *(mg._ROOMS if place == "minigrad" else ())}
        assert not there & set(table), there & set(table)
    for name in elsewhere.METHODS:
        assert not hasattr(mg.Tensor(1.0), name), name
    assert set(elsewhere.SAYS) <= {name.rpartition(".")[2] for name in LINES}


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda: mg.clamp, r"module 'minigrad' has no attribute 'clamp': type mg.clip\(x, low, high\)"),
        (lambda: mg.fft.fft, r"type np.fft.fft\(x.numpy\(\)\), on the values alone, without a gradient"),
        (lambda: mg.gelu, "type mg.functional.gelu"),
        (lambda: mg.Linear, "type mg.nn.Linear"),
        (lambda: mg.AdamW, "type mg.optim.AdamW"),
        (lambda: mg.StepLR, "type mg.schedule.StepLR"),
        (lambda: mg.from_numpy, "type mg.Tensor"),
        (lambda: mg.array, "type mg.tensor"),
        (lambda: mg.diagonal_copy, "type mg.diagonal"),
        (lambda: mg.unsqueeze_, "type mg.unsqueeze"),
        (lambda: mg.polyfit, r"type np.polyfit\(x.numpy\(\), …\), on the values"),
        (lambda: mg.detach, r"type x.detach\(…\)"),
        (lambda: mg.sofmax, "type mg.softmax"),
        (lambda: F.cat, "type mg.cat"),
        (lambda: F.clamp_min, r"type mg.clip\(x, low, None\)"),
        (lambda: F.gumbel_softmax, r"type mg.softmax\("),
        (lambda: nn.relu, "type mg.relu"),
        (lambda: nn.Dense, r"type nn.Linear\(3, 2\)"),
        (lambda: nn.Liner, "type mg.nn.Linear"),
        (lambda: nn.functional, "type mg.functional"),
        (lambda: linalg.eig, r"type np.linalg.eig\(A.numpy\(\)\), on the values"),
        (lambda: linalg.inv_ex, r"type mg.linalg.inv\(A\)"),
        (lambda: optim.adamw, "type mg.optim.AdamW"),
        (lambda: optim.lr_scheduler, "type mg.schedule.StepLR"),
        (lambda: schedule.get_linear_schedule_with_warmup, "type schedule.linear_schedule_with_warmup"),
        (lambda: schedule.CyclicLr, "type mg.schedule.CyclicLR"),
        (lambda: losses.CrossEntropyLoss, "type mg.nn.CrossEntropyLoss"),
        (lambda: mg.jit, "the function itself: nothing is compiled here"),
        (lambda: mg.Tensor(1.0).det(), r"Tensor has no attribute 'det': type mg.linalg.det\(A\)"),
        (lambda: mg.Tensor(1.0).masked_fill_, r"type x = x.masked_fill\(…\)"),
        (lambda: mg.Tensor(1.0).clamp_, r"type x = x.clamp\(…\)"),
        (lambda: mg.Tensor(1.0).add_, r"type x \+= y inside mg.no_grad\(\), or x = x \+ y"),
        (lambda: mg.relu_, "type mg.relu"),
        (lambda: mg.Tensor(1.0).exponential_, r"type -mg.log\(mg.rand\(3\)\)"),
        (lambda: mg.Tensor(1.0).t_, r"type x = x.t\(…\)"),
        (lambda: mg.max(mg.ones((2, 3)), 1).values, r"type mg.max\(x, 1\), which along an axis gives the values alone"),
        (lambda: mg.float, "type 'float32'"),
        (lambda: mg.long, "type 'int64'"),
        (lambda: mg.svd, "of which torch's V is Vh.mT"),
        (lambda: mg.Tensor(1.0).frexp(), r"np.frexp\(x.numpy\(\)\), on the values alone"),
    ],
)
def test_a_name_is_answered(ask, text):
    with pytest.raises(AttributeError, match=text):
        ask()


def test_what_nobody_means_is_plain():
    for place in (mg, F, nn, optim, schedule, losses, linalg):
        with pytest.raises(AttributeError) as caught:
            getattr(place, "qw" + "zxv")
        assert str(caught.value) == f"module {place.__name__!r} has no attribute 'qwzxv'"
        assert not hasattr(place, "__wrapped__")
    error = elsewhere.missing("minigrad", "clamp")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_asking_whether_a_name_is_there_reads_no_other_room():
    lines = "import sys, minigrad; hasattr(minigrad, 'gelu'); print('minigrad.nn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True).stdout == "False\n"


def test_every_absent_name_of_torchs_catalogue_is_answered():
    pytest.importorskip("torch")
    catalogue = pytest.importorskip("parity.torch_catalogue")
    asked = 0
    for name, there in catalogue.counted().items():
        if there or name in catalogue.CALLS:
            continue
        layer = name.removeprefix("nn.functional.")
        place = (
            "minigrad.functional" if layer != name else "minigrad.linalg" if name.startswith("linalg.") else "minigrad"
        )
        asked += 1
        assert elsewhere.instead(place, layer.removeprefix("linalg.")), name
        method = layer if place == "minigrad" else None
        if method and hasattr(catalogue.torch.Tensor, method):
            with pytest.raises(AttributeError, match="type "):
                getattr(mg.Tensor(1.0), method)
    assert asked > 20
    for module in catalogue.module_db:
        name = module.module_cls.__name__
        assert hasattr(nn, name) or elsewhere.instead("minigrad.nn", name), name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FloatTensor", r"type mg.Tensor\(v, dtype='float32'\)"),
        ("LongTensor", r"type mg.Tensor\(v, dtype='int64'\)"),
        ("iinfo", "type np.iinfo"),
        ("finfo", "type np.finfo"),
        ("func", "type mg.grad, mg.vjp"),
        ("set_grad_enabled", r"mg.enable_grad\(\) for True, mg.no_grad\(\) for False"),
        ("scatter_reduce", "for reduce='sum'; the other reductions are not here"),
        *((name, f"'{name}': {text[:30]}") for name, text in elsewhere.ABSENT.items()),
    ],
)
def test_what_is_not_here_is_said(name, text):
    with pytest.raises(AttributeError, match=text):
        getattr(mg, name)


def test_the_larger_of_two_tensors_is_maximum():
    with pytest.raises(TypeError, match="max: an axis is .*: of two Tensors, entry by entry, it is mg.maximum"):
        mg.max(mg.ones(3), mg.zeros(3))
    with pytest.raises(TypeError, match="min: .* it is mg.minimum"):
        mg.ones(3).min(mg.zeros(3))
