"""recording: notes are kept as long as the tape, and kernels stay out of it if asked."""

import gc

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.insight.recording import NOTES, plan, recording


def test_notes_live_and_die_with_the_tape():
    gc.collect()
    before = len(NOTES)
    x = mg.ones(3, requires_grad=True)
    gc.disable()
    try:
        with recording():
            y = (mg.exp(x) * 2).sum()
        assert len(NOTES) == before + 3
        del y
        assert len(NOTES) == before  # at once: there are no cycles
    finally:
        gc.enable()


def test_nothing_is_noted_outside_or_where_the_tape_is_off():
    x = mg.ones(3, requires_grad=True)
    before = len(NOTES)
    with recording(), mg.no_grad():
        mg.exp(x)
    y = mg.exp(x)
    assert len(NOTES) == before and y.node not in NOTES


def test_a_note_says_what_a_step_was_made_of():
    model = nn.Sequential(nn.Linear(2, 3, rng=0))
    x = mg.ones((1, 2))
    with recording():
        y = model(x)
    note = NOTES[y.node]
    assert note.op.name == "linear" and note.inputs[0] is x and note.y is y.data
    assert note.names == ["x", "self.weight", "self.bias"] and [type(m) for m in note.modules] == [
        nn.Sequential,
        nn.Linear,
    ]
    assert note.lines[-1].text == "y = model(x)" and note.lines[0].text == "return F.linear(x, self.weight, self.bias)"


def test_without_kernels_neither_way_uses_one(monkeypatch):
    x = mg.Tensor(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32), requires_grad=True)
    keep = np.ones((4, 5), bool)
    with recording(kernels=False):
        y = mg.softmax(mg.ops.dropout(x, keep, 0.5)).sum()
    used = []
    for name, kernel in list(mg.backend.host.kernels.items()):
        if hasattr(kernel, "forward"):
            monkeypatch.setitem(
                mg.backend.host.kernels,
                name,
                kernel._replace(forward=lambda *a, name=name, real=kernel.forward: used.append(name) or real(*a)),
            )
    y.backward(retain_graph=True)
    assert used == [] and plan(y.node).op.name == "sum"
    mg.softmax(x)
    assert used == ["softmax"]
    (g,) = mg.grad(mg.grad(y, [x], create_graph=True)[0].sum(), [x])  # and it can still be differentiated twice
    assert g.shape == x.shape
