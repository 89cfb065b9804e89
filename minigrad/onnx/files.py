"""A model as an ONNX file: its forward pass, recorded at two sizes and translated op by op."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import __version__
from ..pretrained.checkpoint.files import replacing
from ..pretrained.model import PretrainedModel
from ..tensor import Tensor
from .graph import Graph, Size
from .steps import Recording

FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "vit", "resnet", "vgg", "mobilenet_v2")
OPSET, IR_VERSION = 18, 8  # of 2022, which every runtime since then reads
MAX_BYTES = 2_000_000_000  # of weights within the file; protobuf ends at 2 GiB
AXES = ("batch", "length")
BATCHES, SHORT = (2, 3), 7  # sizes of the recordings: no product of the first ones has the ratio of another


def export(model: PretrainedModel, path: str | os.PathLike, *, image_size: int | tuple[int, int] | None = None) -> None:
    """Write a model as an ONNX file, which onnxruntime and others run without minigrad.

    The file takes int64 `input_ids`, `attention_mask` and, where the model has several types, `token_type_ids`, all
    (batch, length); or float32 `pixel_values` (batch, channels, height, width).  Its outputs are those of the model:
    `logits`, or `start_logits` and `end_logits`, or `last_hidden_state` and `pooler_output`.  Any batch will do, and
    any length that the model reads.  The weights keep their names, and `id2label` is among the metadata.  Above 2 GB
    the weights go into a file beside it, named after it, with `.data` at the end.

    Args:
        model: an encoder of texts or a model of pictures, in eval mode, on the CPU and in float32.
        path: of the new file; one that exists is replaced.
        image_size: height and width of the pictures, for models that take several; 224, if config.json has none.

    Raises:
        TypeError: it is not a pretrained model.
        ValueError: it is of another family, in training mode, on a GPU or of another dtype; or it cannot take pictures
            of that size.
        NotImplementedError: its forward pass has an op for which there is no rule; the message says what to do.
        ImportError: the package onnx is not installed.
    """
    onnx = _onnx()
    first, second = (Recording(inputs) for inputs in examples(model, image_size))
    outputs = [tensors(recording.run(model)) for recording in (first, second)]
    names = {id(t.data): name for name, t in reversed(model.state_dict().items())}
    graph = Graph(first, second, (0, 1) if is_of_texts(model) else (0,), names)
    for name, y in outputs[0].items():
        graph.call_it(name, graph.both(first.seen(y), second.seen(outputs[1][name]), name))
    labels = json.dumps(model.config.to_dict()["id2label"], ensure_ascii=False)
    metadata = {"id2label": labels, "model_type": model.config.model_type}
    size = sum(array.nbytes for array in graph.constants.values())
    _save(onnx, proto(onnx, graph, outputs, metadata), Path(path), are_weights_apart=size > MAX_BYTES)


def examples(
    model: PretrainedModel, image_size: int | tuple[int, int] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two batches of noise: two short texts with padding and three of the greatest length, or two and three pictures.

    Raises TypeError and ValueError as `export` does.
    """
    if not isinstance(model, PretrainedModel):
        raise TypeError(
            f"a {type(model).__name__} cannot be exported: expected a model of minigrad.pretrained; of one with "
            "adapters, type model.merge_and_unload() first"
        )
    if model.config.model_type not in FAMILIES:
        raise ValueError(
            f"a model of the family {model.config.model_type} cannot be exported; expected one of {', '.join(FAMILIES)}"
        )
    if model.training:
        raise ValueError("the model is in training mode, in which dropout is at work: type model.eval() first")
    for name, t in model.state_dict().items():
        if not isinstance(t.data, np.ndarray):
            raise ValueError(f'{name} is on {t.device}: type model.to("cpu") first')
        if t.dtype.kind not in "iub" and t.dtype != np.float32:
            raise ValueError(f'{name} is {t.dtype}, and a file is written in float32: type model.to("float32") first')
    if not is_of_texts(model):
        return noise(model, BATCHES[0], image_size), noise(model, BATCHES[1], image_size)
    longest = model.config.longest or 512
    if longest <= SHORT:
        raise ValueError(f"the model reads at most {longest} tokens; expected more than {SHORT}")
    return noise(model, BATCHES[0], SHORT), noise(model, BATCHES[1], longest)


def is_of_texts(model: PretrainedModel) -> bool:
    """Whether it reads texts; otherwise it reads pictures."""
    return "input_ids" in signature(model.forward).parameters


def noise(model: PretrainedModel, many: int, size: int | tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """A batch without meaning: texts of `size` tokens, most of them with padding at the end, or pictures of that size.

    Without a size, pictures have the one in config.json, or are 224 × 224, and texts have as few tokens as a recording.
    """
    rng, config = np.random.default_rng(0), model.config
    if not is_of_texts(model):
        given: Any = size or getattr(config, "image_size", None) or config.rest.get("image_size") or 224
        shape = (many, config.num_channels, *((given, given) if isinstance(given, int) else given))
        return {"pixel_values": rng.standard_normal(shape).astype(np.float32)}
    length = size if isinstance(size, int) else SHORT
    mask = np.tri(many, length, length - many, dtype=np.int64) if many > 1 else np.ones((many, length), np.int64)
    ids = np.where(mask, rng.integers(0, config.vocab_size, mask.shape), config.pad_token_id or 0)
    found = {"input_ids": ids, "attention_mask": mask}
    types = getattr(config, "type_vocab_size", 1)
    return found | ({"token_type_ids": rng.integers(0, types, mask.shape) * mask} if types > 1 else {})


def tensors(output: Any) -> dict[str, Tensor]:
    """The Tensors of an output record, by name."""
    found = {field.name: getattr(output, field.name) for field in fields(output)}
    return {name: y for name, y in found.items() if isinstance(y, Tensor)}


def proto(onnx: ModuleType, graph: Graph, outputs: list[dict[str, Tensor]], metadata: dict[str, str]) -> Any:
    """The graph as ONNX's own record of a model."""
    helper = onnx.helper

    def described(name: str, dtype: np.dtype, one: tuple[int, ...], two: tuple[int, ...]) -> Any:
        sizes = [n if n == m else graph.open(n, m) for n, m in zip(one, two, strict=True)]
        axes: dict[Any, str] = {Size((axis,), 1): title for axis, title in enumerate(AXES)}
        known = [n if isinstance(n, int) else axes.get(n) for n in sizes]  # None for a product of several
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), known)

    taken, given = graph.first.inputs, graph.second.inputs
    nodes = [
        helper.make_node(
            node.kind, node.inputs, [node.output], name=node.output, **_attributes(helper, node.attributes)
        )
        for node in graph.nodes
    ]
    made = helper.make_graph(
        nodes,
        metadata["model_type"],
        [described(name, x.dtype, x.shape, given[name].shape) for name, x in taken.items()],
        [described(name, y.dtype, y.shape, outputs[1][name].shape) for name, y in outputs[0].items()],
        [onnx.numpy_helper.from_array(np.asarray(x, order="C"), name) for name, x in graph.constants.items()],
    )
    model = helper.make_model(
        made,
        producer_name="minigrad",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, metadata)
    return model


def _attributes(helper: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The options of a node, dtypes by ONNX's numbers."""
    return {
        name: helper.np_dtype_to_tensor_dtype(value) if isinstance(value, np.dtype) else value
        for name, value in attributes.items()
    }


def _save(onnx: ModuleType, model: Any, path: Path, are_weights_apart: bool) -> None:
    """Write the file, with large weights in one beside it, and have ONNX check it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {path.parent} to write {path.name} in: make it first")
    if are_weights_apart:
        data = path.with_name(f"{path.name}.data")
        data.unlink(missing_ok=True)  # to which onnx would add
        onnx.save_model(model, path, save_as_external_data=True, location=data.name)
    else:
        with replacing(path) as (part,):
            onnx.save_model(model, part)
    onnx.checker.check_model(str(path))


def _onnx() -> ModuleType:
    """The package onnx."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            f'writing ONNX files requires the package onnx ({error}): pip install "minigrad-learn[onnx]"'
        ) from None
    return onnx
