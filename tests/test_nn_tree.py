"""What a model has below it, by the names torch's users type, beside torch's own answers."""

import numpy as np
import pytest

from minigrad import nn, ops
from minigrad.tensor import Tensor


def fill(model, room):
    model.first = room.Linear(2, 3)
    model.many = room.ModuleList([room.Linear(3, 3), room.Sequential(room.Linear(3, 2), room.BatchNorm1d(2))])
    model.named = room.ModuleDict({"a": room.ReLU(), "b": room.PReLU()})
    model.again = model.first
    return model


class Block(nn.Module):
    def __init__(self):
        fill(self, nn)


def theirs():
    torch = pytest.importorskip("torch")
    return fill(torch.nn.Module(), torch.nn)


def test_children_parameters_and_buffers_have_torchs_names():
    ours, reference = Block(), theirs()
    for question in ("named_children", "named_parameters", "named_buffers"):
        expected = [name for name, _ in getattr(reference, question)()]
        assert [name for name, _ in getattr(ours, question)()] == expected, question
    assert [name for name, _ in ours.named_parameters("net", recurse=False)] == []
    assert [name for name, _ in ours.first.named_parameters("net")] == ["net.weight", "net.bias"]
    assert ours.parameters(recurse=False) == [] and len(ours.buffers()) == 3
    assert list(ours.state_dict()) == list(reference.state_dict())
    assert [type(m).__name__ for m in ours.children()] == [type(m).__name__ for m in reference.children()]
    assert [name for name, _ in ours.many.named_children()] == ["0", "1"]
    assert [name for name, _ in ours.many.named_parameters()] == [name for name, _ in reference.many.named_parameters()]


def test_apply_reaches_every_module_those_below_first():
    seen, block = [], Block()
    assert block.apply(lambda m: seen.append(type(m).__name__)) is block
    assert seen == ["Linear", "Linear", "Linear", "BatchNorm1d", "Sequential", "ReLU", "PReLU", "Block"]

    def zero(module):
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)

    assert not block.apply(zero).many[1][0].weight.numpy().any()


def test_what_stands_at_a_path():
    block = Block()
    assert block.get_submodule("many.1.0") is block.many[1][0] and block.get_submodule("") is block
    assert block.get_parameter("first.weight") is block.first.weight
    assert block.get_buffer("many.1.1.running_mean") is block.many[1][1].running_mean
    with pytest.raises(AttributeError, match="'many.7' leads nowhere: many has 0, 1"):
        block.get_submodule("many.7")
    with pytest.raises(AttributeError, match="'first' is a Linear, not a Parameter"):
        block.get_parameter("first")


def test_dtypes_modes_and_gradients_of_all():
    block = Block()
    assert {p.dtype.name for p in block.double().parameters()} == {"float64"}
    assert block.many[1][1].num_batches_tracked.dtype == np.int64
    assert {p.dtype.name for p in block.half().parameters()} == {"float16"} and block.float().cpu() is block
    assert not any(p.requires_grad for p in block.requires_grad_(False).parameters())
    block.requires_grad_()
    ops.sum(block.first(np.ones((1, 2), np.float32))).backward()
    block.zero_grad(set_to_none=False)
    assert (block.first.weight.grad.numpy() == 0).all() and block.many[0].weight.grad is None
    assert block.many.eval()[1].training is False


def test_what_was_not_loaded_is_returned():
    block = Block()
    state = block.state_dict()
    state.pop("many.0.bias")
    state["extra"] = np.zeros(1)
    missing, unexpected = block.load_state_dict(state, strict=False)
    assert missing == ["many.0.bias"] and unexpected == ["extra"]
    assert Block().load_state_dict(block.state_dict()) == ([], [])


def test_a_transient_buffer_moves_and_is_not_saved():
    module = nn.Module()
    module.register_buffer("seen", Tensor(np.zeros(2)), persistent=False)
    assert list(module.state_dict()) == [] and [name for name, _ in module.named_buffers()] == ["seen"]
    assert module.to("float32").seen.dtype == np.float32


@pytest.mark.parametrize("state", [[1], None, "weights.safetensors", nn.Linear(2, 1), Tensor([1.0])])
def test_a_state_that_is_no_dict_is_refused(state):
    with pytest.raises(TypeError, match=f"load_state_dict: expected a dict .* not a {type(state).__name__}"):
        nn.Linear(2, 1).load_state_dict(state)


def test_a_state_under_numbers_does_not_fit():
    with pytest.raises(ValueError, match="unexpected: 1"):
        nn.Linear(2, 1).load_state_dict({1: np.ones(1)})
