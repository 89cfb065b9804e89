"""Modules that hold modules, and lists and dictionaries of modules and parameters."""

import copy
import pickle

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn, ops
from minigrad.nn import Group, Linear, ReLU, Sequential
from minigrad.tensor import Tensor


def test_sequential_runs_its_modules_in_order():
    first, last = Linear(3, 4, rng=0), Linear(4, 2, rng=1)
    model, x = Sequential(first, ReLU(), last), np.random.default_rng(0).standard_normal((5, 3), dtype=np.float32)
    assert (model(x).numpy() == last(F.relu(first(x))).numpy()).all()
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model[0] is first and model[-1] is last and len(model) == 3 and [*model] == [first, model[1], last]
    assert Sequential()(x) is x


def test_a_replaced_module_runs_in_the_old_ones_place():
    model = Sequential(Linear(3, 4), ReLU(), Linear(4, 2))
    new = Linear(3, 4, bias=False)
    model.replace("0", new)
    assert model[0] is new and len(model) == 3
    assert list(model.state_dict()) == ["0.weight", "2.weight", "2.bias"]


@pytest.mark.parametrize("given", [F.relu, [Linear(2, 2)], None])
def test_sequential_refuses_what_it_would_have_to_skip(given):
    with pytest.raises(TypeError, match=f"Sequential holds modules, not a {type(given).__name__}"):
        Sequential(Linear(2, 2), given)


def test_a_group_is_a_step_in_a_name():
    group = Group(self=Linear(2, 2), output=Group(dense=Linear(2, 2, bias=False)))
    assert list(group.state_dict()) == ["self.weight", "self.bias", "output.dense.weight"]
    with pytest.raises(TypeError, match="Group has no forward"):
        group(1)


def linears(room, *sizes):
    return [room.Linear(*size) for size in sizes]


def grown(room):
    model = room.Sequential(room.Linear(1, 1))
    assert model.append(room.Linear(2, 2)) is model
    assert model.insert(1, room.Linear(3, 3)) is model and model.extend(linears(room, (4, 4), (5, 5))) is model
    model.insert(0, room.Linear(6, 6))
    return model


def names(model):
    return {name: tuple(t.shape) for name, t in model.state_dict().items()}


def test_a_sequence_grows_as_torchs():
    torch = pytest.importorskip("torch")
    ours, theirs = grown(nn), grown(torch.nn)
    assert names(ours) == names(theirs) and len(ours) == 6
    for model in (ours, theirs):
        del model[1]
        model[-1] = type(model[0])(7, 7)
        assert model.pop(0).weight.shape == (6, 6)
    assert names(ours) == names(theirs)
    assert names(ours[1:]) == names(theirs[1:]) and isinstance(ours[1:], nn.Sequential)
    assert ours[-1] is list(ours)[-1]


def test_a_sequence_of_names():
    model = nn.Sequential({"up": nn.Linear(2, 3, rng=0), "act": nn.ReLU()})
    assert list(model.state_dict()) == ["up.weight", "up.bias"] and model.up is model[0]
    assert model(np.ones((1, 2), np.float32)).shape == (1, 3)
    assert list(model.append(nn.Linear(3, 1)).state_dict())[2:] == ["2.weight", "2.bias"]
    with pytest.raises(KeyError, match="the modules have names, up, act, 2"):
        model.insert(0, nn.ReLU())
    with pytest.raises(IndexError, match="has no place 9"):
        model.insert(9, nn.ReLU())
    with pytest.raises(TypeError, match="Sequential holds modules"):
        model.append(3)
    with pytest.raises(KeyError, match="'forward' cannot be the name"):
        nn.Sequential({"forward": nn.ReLU()})


def test_lists_and_dictionaries_of_modules_and_parameters_are_found():
    class Model(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList(nn.Linear(2, 2, rng=i) for i in range(2))
            self.heads = nn.ModuleDict({"a": nn.Linear(2, 1, rng=2)})
            self.scales = nn.ParameterList([Tensor(np.ones(2, np.float32)), nn.Parameter(np.ones(2, np.float32))])
            self.shifts = nn.ParameterDict({"x": Tensor(np.zeros(2, np.float32))})

        def forward(self, x):
            for layer, scale in zip(self.layers, self.scales, strict=True):
                x = layer(x) * scale + self.shifts["x"]
            return self.heads["a"](x)

    model = Model()
    model.scales.append(Tensor(np.ones(1, np.float32)))
    model.scales.extend([Tensor(np.ones(1, np.float32))])
    model.shifts.update({"y": Tensor(np.zeros(1, np.float32))})
    model.shifts["z"] = Tensor(np.zeros(1, np.float32))
    model.heads.update({"b": nn.ReLU()})
    assert list(model.state_dict()) == [
        *(f"layers.{i}.{name}" for i in range(2) for name in ("weight", "bias")),
        "heads.a.weight",
        "heads.a.bias",
        *(f"scales.{i}" for i in range(4)),
        *(f"shifts.{name}" for name in "xyz"),
    ]
    assert len(model.layers.parameters()) == 4
    assert all(isinstance(p, nn.Parameter) for p in [*model.scales, *model.shifts.values()])
    del model.scales[2:], model.shifts["y"]
    ops.sum(copy.deepcopy(model)(np.ones((1, 2), np.float32))).backward()
    ops.sum(model(np.ones((1, 2), np.float32))).backward()
    assert model.scales[0].grad is not None and model.shifts["x"].grad is not None


@pytest.mark.parametrize(("name", "error"), [(1, TypeError), (None, TypeError), ("", KeyError), ("a.b", KeyError)])
@pytest.mark.parametrize(("kind", "value"), [(nn.ModuleDict, nn.Linear(1, 1)), (nn.ParameterDict, Tensor([1.0]))])
def test_a_key_is_one_step_of_a_path(kind, value, name, error):
    """As in torch 2.13, whichever way the entry is put in."""
    held = kind({"a": value})
    for put in (
        lambda: kind({name: value}),
        lambda: kind([(name, value)]),
        lambda: held.__setitem__(name, value),
        lambda: held.update({name: value}),
        lambda: held.setdefault(name, value),
        lambda: held.__ior__({name: value}),
        lambda: nn.Module().register_parameter(name, nn.Parameter([1.0])),
        lambda: nn.Module().register_buffer(name, Tensor([1.0])),
        lambda: nn.Module().add_module(name, nn.Linear(1, 1)),
    ):
        with pytest.raises(error, match="a name is text without a dot, not"):
            put()
    assert list(held) == ["a"]


def test_lists_and_dicts_of_modules_hold_modules():
    for put in (
        lambda: nn.ModuleDict({"a": 3}),
        lambda: nn.ModuleDict().update({"a": Tensor([1.0])}),
        lambda: nn.ModuleList([nn.Linear(1, 1), 3]),
        lambda: nn.ModuleList().append([nn.Linear(1, 1)]),
        lambda: nn.ModuleList().extend([3]),
        lambda: nn.ModuleList().insert(0, 3),
        lambda: nn.ModuleList().__iadd__([3]),
        lambda: nn.ModuleList([None]).__setitem__(0, 3),
    ):
        with pytest.raises(TypeError, match="holds modules, not a"):
            put()
    assert len(nn.ModuleList([None, nn.ReLU()])) == 2 and nn.ModuleDict({"a": None}) == {"a": None}
    held = nn.ParameterList([Tensor([1.0])])
    held += [Tensor([2.0])]
    held.insert(0, Tensor([0.0]))
    assert [p.item() for p in held.parameters()] == [0, 1, 2]
    again = copy.deepcopy(nn.ModuleDict({"a": nn.Linear(1, 1)}))
    assert type(again) is nn.ModuleDict and list(again.state_dict()) == ["a.weight", "a.bias"]
    assert list(pickle.loads(pickle.dumps(again))) == ["a"]


def test_two_parameters_of_one_path_are_refused():
    model = nn.Module()
    model.layers = {1: nn.Linear(1, 1), "1": nn.Linear(1, 1)}
    with pytest.raises(KeyError, match="two parameters or buffers are called 'layers.1.weight'"):
        model.state_dict()


def test_containers_take_their_entries_under_torchs_names():
    layer, weight = nn.Linear(2, 2), Tensor([1.0])
    assert nn.ModuleList(modules=[layer])[0] is layer
    assert nn.ModuleDict(modules={"a": layer})["a"] is layer
    assert nn.ParameterList(values=[weight])[0].tolist() == [1.0]
    assert nn.ParameterDict(parameters={"w": weight})["w"].tolist() == [1.0]
