"""One side of a comparison: a copy of a model, run with a record of what every module returns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from itertools import count
from typing import Any
from zlib import crc32

import numpy as np

from .. import optim
from ..backend import host
from ..tensor import Tensor

Record = dict[tuple[str, str], np.ndarray]  # (stage, name): what was observed
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-5, "weight_decay": 0.1}


@dataclass(frozen=True)
class Call:
    """One call of a module: its beginning and end on a common clock, its input arrays, and its leading output."""

    name: str
    module: Any
    began: int
    ended: int
    inputs: list[np.ndarray]
    result: np.ndarray | None


class Side:
    """A minigrad model under comparison; its methods add what they observe to `record`.

    `TorchSide` overrides what differs for torch.  The rest is shared, since modules of both libraries have
    `named_modules` and call the `forward` found on the instance.
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any] | tuple, dtype: str):
        self.dtype = dtype
        self.model = self.copied(model)
        if not isinstance(inputs, (Mapping, tuple, list)) and not hasattr(inputs, "shape"):
            raise TypeError(
                f"inputs is a {type(inputs).__name__}: give one array, a tuple of arrays, or named ones, such as "
                '{"input_ids": ids}'
            )
        named = (
            inputs
            if isinstance(inputs, Mapping)
            else dict(enumerate((inputs,) if hasattr(inputs, "shape") else inputs))
        )
        self.inputs = {name: _floating(value, dtype) for name, value in named.items() if value is not None}
        self.spelling: Mapping[str, str] = {}  # this library's names -> our names, where they differ
        self.seed = 0  # of torch's dropout: runs draw the same masks until it changes
        self.record: Record = {}
        self.calls: list[Call] = []
        self.outputs: dict[str, Any] = {}
        self.aliases: Mapping[str, str] = {}  # numbered outputs -> their names on the other side

    # These methods differ between libraries.
    def copied(self, model: Any) -> Any:
        """A copy of the model on the CPU, in the dtype of the comparison."""
        return copy.deepcopy(model).to(host.name).to(self.dtype)

    def named(self) -> dict[str, Any]:
        """Every floating weight and buffer (not copied), under each of its names in this library."""
        return {name: t for name, t in self.model.state_dict().items() if t.dtype.kind == "f"}

    def tensor(self, value: np.ndarray) -> Any:
        """An input of the model, from an array."""
        return Tensor(value) if value.dtype.kind == "f" else value

    def write(self, weight: Any, value: np.ndarray) -> None:
        """Overwrite a weight."""
        weight.copy_(value)

    def turned(self) -> set[str]:
        """The names, in this library, of the weights that are stored transposed, (in, out)."""
        return set()

    def optimiser(self) -> Any:
        """AdamW over all parameters."""
        return optim.AdamW(self.model.parameters(), **ADAMW)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The context that the model runs in."""
        yield

    # These are the same for both.
    def state(self) -> dict[str, Any]:
        """The weights of `named`, under our names."""
        return {self.spelling.get(name, name): t for name, t in self.named().items()}

    def numbers(self, of: Callable[[Any], Any] = lambda weight: weight) -> dict[str, np.ndarray]:
        """Every weight, or `of(weight)`, as an array of shape (out, in), under our names."""
        turned = self.turned()
        return {
            self.spelling.get(name, name): array(of(t)).T.copy() if name in turned else array(of(t))
            for name, t in self.named().items()
        }

    def one_array(self, a: str, b: str) -> bool:
        """Whether two of our names refer to one array, as with a tied head."""
        state = self.state()
        return a in state and b in state and np.shares_memory(state[a].detach().numpy(), state[b].detach().numpy())

    def nudge(self) -> None:
        """Move every weight to the next floating point number, up or down."""
        rng = np.random.default_rng(0)
        for weight in {id(t): t for t in self.named().values()}.values():
            now = array(weight)
            self.write(weight, np.nextafter(now, now + rng.integers(0, 2, now.shape) * 2 - 1))

    def run(self) -> Any:
        """Call the model on its inputs."""
        given = {name: self.tensor(value) for name, value in self.inputs.items()}
        with self.at_work():
            return self.model(
                *(x for name, x in given.items() if isinstance(name, int)),
                **{name: x for name, x in given.items() if isinstance(name, str)},
            )

    def returned(self) -> dict[str, Any]:
        """Run once and return the outputs (not detached), by the names that both sides share."""
        return {self.aliases.get(name, name): x for name, x in named_outputs(self.run()).items()}

    def called(self, aliases: Mapping[str, str]) -> None:
        """Rename the outputs that were observed."""
        self.aliases = aliases
        self.outputs = {aliases.get(name, name): x for name, x in self.outputs.items()}
        keys = {("activations", f"output {name}"): ("activations", f"output {new}") for name, new in aliases.items()}
        self.record = {
            keys.get(key, key): x for key, x in self.record.items() if keys.get(key) != ("activations", "output loss")
        }

    def observed(self) -> tuple[Record, list[Call], dict[str, Any]]:
        """Run once: the record of every module and of the model, the calls, and the outputs (not detached)."""
        calls: list[Call] = []
        with watched(self.model, self.spelling, calls):
            outputs = self.returned()
        record = {("activations", call.name): call.result for call in calls if call.result is not None}
        record |= {("activations", f"output {name}"): array(x) for name, x in outputs.items() if name != "loss"}
        return record, calls, outputs

    def forward(self) -> None:
        """Run once; record the weights and everything observed."""
        self.record = {("weights", name): x for name, x in self.numbers().items()}
        record, self.calls, self.outputs = self.observed()
        self.record |= record

    def loss(self, shared: set[str]) -> Any:
        """The loss among the outputs, or else a random linear combination of all outputs that both sides have."""
        if "loss" in shared:
            return self.outputs["loss"]
        mixed = 0
        for name in sorted(shared):
            shape = tuple(self.outputs[name].shape)
            weights = np.random.default_rng(crc32(name.encode())).standard_normal(shape).astype(self.dtype)
            mixed = (self.outputs[name] * self.tensor(weights)).sum() + mixed
        return mixed

    def train(self, shared: set[str], steps: int) -> None:
        """Record the loss and the gradients of the last forward run, then the weights after some steps of AdamW.

        Gradients are recorded from the last layer to the first.  If no parameter is trained, only the loss is recorded.
        The weights are restored in the end.
        """
        if not shared:
            return
        loss = self.loss(shared)
        self.record["loss", "loss"] = array(loss)
        if not loss.requires_grad:
            return
        self.model.zero_grad()
        with self.at_work():
            loss.backward()
        parameters, state = {id(p) for p in self.model.parameters()}, self.state()
        gradients = self.numbers(lambda t: t * 0 if t.grad is None else t.grad)
        self.record |= {
            ("gradients", name): gradients[name] for name in reversed(state) if id(state[name]) in parameters
        }
        if not steps or not parameters:
            return
        before, adamw = {name: array(t) for name, t in state.items()}, self.optimiser()
        for step in range(steps):
            if step:
                adamw.zero_grad()
                self.outputs = self.returned()
                with self.at_work():
                    self.loss(shared).backward()
            adamw.step()
        self.record |= {("after the steps", name): x for name, x in self.numbers().items()}
        self.model.zero_grad()
        for name, t in state.items():  # restored, for the search for a cause
            self.write(t, before[name])

    def generate(self, new_tokens: int, **options: Any) -> np.ndarray:
        """Greedy continuations, (B, T), of the texts with their padding moved to the left, as decoders expect it."""
        ids = self.inputs["input_ids"]
        mask = self.inputs.get("attention_mask", np.ones_like(ids))
        left = np.argsort(mask, axis=1, kind="stable")
        ids, mask = (self.tensor(np.take_along_axis(x, left, 1)) for x in (ids, mask))
        with self.at_work():
            tokens = self.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False, **options
            )
        return np.asarray(tokens)


def pair_outputs(ours: Side, theirs: Side) -> None:
    """If one side returns a Tensor or a tuple and the other names its outputs, match them by shape."""
    numbered, named = sorted((ours, theirs), key=lambda side: not all(map(str.isdigit, side.outputs)))
    if not all(map(str.isdigit, numbered.outputs)) or any(map(str.isdigit, named.outputs)):
        return
    found, free = {}, {name: tuple(x.shape) for name, x in named.outputs.items()}
    for name, x in numbered.outputs.items():
        same = next((other for other, shape in free.items() if shape == tuple(x.shape)), None)
        if same is not None:
            found[name] = same
            del free[same]
    numbered.called(found)


def spelling(theirs: Side, ours: Side) -> dict[str, str]:
    """{their name: our name} of weights and modules whose names differ.

    Weights are matched by their values, modules by their weights.  Of several nested modules with the same weights, the
    outermost ones are matched first.
    """
    mine, others, found, by_numbers = ours.numbers(), theirs.numbers(), {}, {}
    if not others.keys() - mine.keys():
        return {}
    for name, x in mine.items():
        if name not in others:
            by_numbers.setdefault((x.shape, x.tobytes()), []).append(name)
    for name, x in others.items():
        if name not in mine and (same := by_numbers.get((x.shape, x.tobytes()))):
            found[name] = same.pop(0)

    def by_weights(model, weights, spelling):
        groups = {}
        for path, module in model.named_modules():
            inside = frozenset(spelling.get(name, name) for name in weights if name.startswith(f"{path}."))
            if path and inside and runs(module):
                groups.setdefault((inside, is_leaf(module)), []).append(path)
        return groups

    our_paths = by_weights(ours.model, mine, {})
    for group, paths in by_weights(theirs.model, others, found).items():
        found |= dict(zip(paths, our_paths.get(group, ())))
    return found


def runs(module: Any) -> bool:
    """Whether a module defines `forward`, and is not just a container."""
    base = next(kind for kind in type(module).__mro__ if kind.__name__ == "Module")
    return type(module).forward is not base.forward


def is_leaf(module: Any) -> bool:
    """Whether a module has no submodules."""
    return len(list(module.modules())) == 1


@contextmanager
def watched(model: Any, spelling: Mapping[str, str], calls: list[Call]) -> Iterator[None]:
    """In the body, each call of a module below `model` appends a Call, in the order in which they end."""
    clock, seen = count(), {}

    def recorder(path, module, forward):
        @wraps(forward)
        def run(*args, **kwargs):
            began, inputs = next(clock), arrays((args, kwargs))
            result = forward(*args, **kwargs)
            seen[path] = seen.get(path, 0) + 1
            name = path if seen[path] == 1 else f"{path} (call {seen[path]})"
            calls.append(Call(name, module, began, next(clock), inputs, leading(arrays(result))))
            return result

        return run

    first = {}
    for path, module in model.named_modules():
        if path:
            first.setdefault(id(module), (spelling.get(path, path), module))
    with ExitStack() as stack:
        for path, module in first.values():
            stack.enter_context(attribute(module, "forward", recorder(path, module, module.forward)))
        yield


@contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """In the body, the object has this attribute in its own `__dict__`; afterwards the former state is restored."""
    own = vars(owner)
    before, had = own.get(name), name in own
    own[name] = value
    try:
        yield
    finally:
        if had:
            own[name] = before
        else:
            del own[name]


def array(x: Any) -> np.ndarray:
    """A copy of a Tensor, ours or torch's, as a NumPy array."""
    return np.array(x.detach().numpy())


def arrays(found: Any) -> list[np.ndarray]:
    """Copies of all arrays in tuples, lists, mappings and dataclasses, in order."""
    if hasattr(found, "detach"):
        return [array(found)]
    if isinstance(found, np.ndarray):
        return [found.copy()]
    if isinstance(found, Mapping):
        found = found.values()
    elif is_dataclass(found) and not isinstance(found, type):
        found = [getattr(found, f.name) for f in fields(found)]
    elif not isinstance(found, (tuple, list)):
        return []
    return [part for item in found for part in arrays(item)]


def leading(found: list[np.ndarray]) -> np.ndarray | None:
    """The first floating array, which stands for the inputs or outputs of a module."""
    return next((x for x in found if x.dtype.kind == "f"), None)


def named_outputs(result: Any) -> dict[str, Any]:
    """The floating Tensors that a model returned (not detached), by name, or by number if it returned a tuple."""
    if hasattr(result, "detach"):
        result = {"0": result}
    elif isinstance(result, (tuple, list)):
        result = {str(i): x for i, x in enumerate(result)}
    elif not isinstance(result, Mapping) and not is_dataclass(result):
        raise TypeError(
            f"a model returned a {type(result).__name__}: parity compares Tensors, and tuples, dictionaries and "
            "dataclasses of Tensors"
        )
    elif not isinstance(result, Mapping):
        result = {f.name: getattr(result, f.name) for f in fields(result)}
    return {name: x for name, x in result.items() if hasattr(x, "detach") and array(x).dtype.kind == "f"}


def _floating(value: Any, dtype: str) -> np.ndarray:
    value = np.array(value.detach().numpy() if hasattr(value, "detach") else value)
    return value.astype(dtype) if value.dtype.kind == "f" else value
