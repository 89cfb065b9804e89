"""Every rule computes what its op does: the rows of the catalogue, run by onnxruntime."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.checking.catalogue import ROWS
from minigrad.onnx.files import proto
from minigrad.onnx.graph import Graph
from minigrad.onnx.rules import RULES
from minigrad.onnx.steps import Recording

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def graph_of(function, inputs, others=None, axes=()):
    """The graph of a function of arrays, and its output for each of the two inputs."""
    recordings = [Recording(given) for given in (inputs, inputs if others is None else others)]
    outputs = [{"y": recording.run(lambda **xs: function(*xs.values()))} for recording in recordings]
    graph = Graph(*recordings, axes, {})
    graph.call_it("y", graph.both(*(r.seen(y["y"]) for r, y in zip(recordings, outputs, strict=True)), "y"))
    return graph, outputs


def session_of(graph, outputs):
    model = proto(onnx, graph, outputs, {"model_type": "test"})
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def translated():
    """(op of the row, the ops in it, its inputs, its graph, our outputs) of every row that can be translated."""
    found = []
    for row in ROWS:
        if all(isinstance(a, np.ndarray) and a.size for a in row.inputs):
            arrays = [a if a.dtype.kind in "iub" else a.astype(np.float32) for a in row.inputs]
            inputs = {f"x{i}": a for i, a in enumerate(arrays)}
            others = {name: x if x.dtype.kind in "iub" else x * np.float32(1.25) for name, x in inputs.items()}
            try:
                with np.errstate(all="ignore"):
                    graph, outputs = graph_of(row.call, inputs, others)
            except NotImplementedError as error:
                assert "has no rule" in str(error) or "computed by NumPy" in str(error), error
            except (AttributeError, TypeError):  # the row returns several Tensors, or takes no booleans as Tensors
                continue
            else:
                found.append((row.op, {step.op for step in graph.first.steps.values()}, inputs, graph, outputs))
    return found


@pytest.mark.parametrize("op", sorted(RULES))
def test_rule(op, translated):
    rows = [row for row in translated if op in row[1]]
    assert rows, f"no row of the catalogue with {op} is translated"
    for name, _, inputs, graph, outputs in rows:
        ours = outputs[0]["y"]
        (theirs,) = session_of(graph, outputs).run(["y"], inputs)
        assert theirs.dtype == ours.dtype and theirs.shape == tuple(ours.shape), name
        np.testing.assert_allclose(theirs, ours.data if isinstance(ours, mg.Tensor) else ours, 1e-5, 1e-6, err_msg=name)
