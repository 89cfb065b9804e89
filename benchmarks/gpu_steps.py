"""Training steps on a GPU in both libraries: a stack of GPT's blocks, BERT, ResNet-50, without dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MAX_NORM, LR, CLASSES = 1.0, 1e-4, 8
PRECISIONS = "float32", "TF32", "bfloat16"
MODES = "eager", "forward and backward as a CUDA graph"
SIZES = {  # of each workload: those to measure, and those of --tiny
    "GPT blocks": (
        {"batch": 8, "tokens": 1024, "width": 768, "layers": 12},
        {"batch": 2, "tokens": 4, "width": 8, "layers": 2},
    ),
    "BERT": ({"batch": 32, "tokens": 128}, {"batch": 2, "tokens": 6}),
    "ResNet-50": ({"batch": 32, "pixels": 224}, {"batch": 2, "pixels": 32}),
}
TINY_BERT = dict(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
TINY_RESNET = dict(embedding_size=4, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1])


@dataclass
class Case:
    """The work of both sides: forward, backward, clipping of the gradients, AdamW."""

    workload: str
    precision: str
    directory: str  # where `save_model` put the pretrained model
    tiny: bool = False
    device: str = "cuda"
    steps: int = 1  # per unit of work, after which the host waits for the device

    def __post_init__(self):
        self.sizes = SIZES[self.workload][self.tiny]

    def __str__(self) -> str:
        return f"{self.workload} ({', '.join(f'{name} {n}' for name, n in self.sizes.items())}), {self.precision}"

    def data(self) -> tuple[Any, Any]:
        """The inputs (floats for the blocks, token ids for BERT, pictures for ResNet) and the labels."""
        import numpy as np

        rng, n = np.random.default_rng(0), self.sizes["batch"]
        if self.workload == "BERT":
            x = rng.integers(1, 50, (n, self.sizes["tokens"]))
        elif self.workload == "ResNet-50":
            x = rng.standard_normal((n, 3, self.sizes["pixels"], self.sizes["pixels"]), np.float32)
        else:
            x = rng.standard_normal((n, self.sizes["tokens"], self.sizes["width"]), np.float32)
        return x, np.arange(n) % CLASSES


def save_model(case: Case) -> None:
    """Save the model that both sides load, with random weights, to the case's directory."""
    from minigrad.pretrained import (
        BertConfig,
        BertForSequenceClassification,
        ResNetConfig,
        ResNetForImageClassification,
    )

    model = None
    if case.workload == "BERT":
        model = BertForSequenceClassification(BertConfig(num_labels=CLASSES, **(TINY_BERT if case.tiny else {})), rng=0)
    elif case.workload == "ResNet-50":
        model = ResNetForImageClassification(
            ResNetConfig(num_labels=CLASSES, **(TINY_RESNET if case.tiny else {})), rng=0
        )
    if model is not None:
        model.save_pretrained(case.directory)


def blocks(case: Case) -> Any:
    """GPT's blocks, in minigrad."""
    from minigrad import nn

    width, rng = case.sizes["width"], nn.init.generator(0)
    return nn.TransformerEncoder(
        lambda: nn.TransformerEncoderLayer(
            width, max(1, width // 64), 4 * width, 0.0, "gelu", batch_first=True, norm_first=True, rng=rng
        ),
        case.sizes["layers"],
    )


def model_of_minigrad(case: Case) -> tuple[Any, Callable[[], Any]]:
    """The model, and a function that computes the loss."""
    from minigrad import Tensor
    from minigrad import functional as F
    from minigrad.pretrained import BertForSequenceClassification, ResNetForImageClassification

    x, labels = (Tensor(array, device=case.device) for array in case.data())
    if case.workload == "BERT":
        model = BertForSequenceClassification.from_pretrained(case.directory).to(case.device)
        return model, lambda: F.cross_entropy(model(x).logits, labels)
    if case.workload == "ResNet-50":
        model = ResNetForImageClassification.from_pretrained(case.directory).train().to(case.device)
        return model, lambda: F.cross_entropy(model(x).logits, labels)
    model = blocks(case).to(case.device)
    return model, lambda: F.mse_loss(model(x, is_causal=True), x)


def model_of_torch(case: Case) -> tuple[Any, Callable[[], Any]]:
    import torch
    from torch.nn import functional as F

    x, labels = (torch.from_numpy(array).to(case.device) for array in case.data())
    if case.workload == "GPT blocks":
        width, state = case.sizes["width"], blocks(case).state_dict()
        layer = torch.nn.TransformerEncoderLayer(
            width, max(1, width // 64), 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        model = torch.nn.TransformerEncoder(layer, case.sizes["layers"], enable_nested_tensor=False)
        model.load_state_dict({name: torch.from_numpy(t.numpy()) for name, t in state.items()})
        model, mask = (
            model.to(case.device),
            torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1], case.device),
        )
        return model, lambda: F.mse_loss(model(x, mask, is_causal=True), x)
    from transformers import BertForSequenceClassification, ResNetForImageClassification, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    kind = BertForSequenceClassification if case.workload == "BERT" else ResNetForImageClassification
    model = kind.from_pretrained(case.directory, dtype=torch.float32).to(case.device)
    model.train(case.workload != "BERT")  # ResNet has no dropout, and its normalisation is part of a training step
    return model, lambda: F.cross_entropy(model(x).logits, labels)


def with_minigrad(case: Case) -> Iterator[Any]:
    from minigrad import autocast, backend, optim

    model, loss_of = model_of_minigrad(case)
    optimizer = optim.AdamW(model.parameters(), lr=LR)
    if case.device == "cuda":
        from minigrad.backend.cuda import gemm

        gemm.tf32 = case.precision == "TF32"

    def gradients() -> Any:
        with autocast("bfloat16", enabled=case.precision == "bfloat16"):
            loss = loss_of()
        loss.backward()
        return loss

    def finish() -> None:
        optim.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()

    def wait() -> None:
        if case.device == "cuda":
            backend.get("cuda").xp.cuda.Device().synchronize()

    return training(case, optimizer, gradients, finish, wait, recorded_by_cupy)


def with_torch(case: Case) -> Iterator[Any]:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = case.precision == "TF32"
    model, loss_of = model_of_torch(case)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)

    def gradients() -> Any:
        with torch.autocast(case.device, torch.bfloat16, enabled=case.precision == "bfloat16"):
            loss = loss_of()
        loss.backward()
        return loss

    def finish() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()

    def wait() -> None:
        if case.device == "cuda":
            torch.cuda.synchronize()

    return training(case, optimizer, gradients, finish, wait, recorded_by_torch)


def training(
    case: Case,
    optimizer: Any,
    gradients: Callable[[], Any],
    finish: Callable[[], None],
    wait: Callable[[], None],
    recorded: Callable,
) -> Iterator[Any]:
    """Yield the losses of three steps, then run units of steps in each of the MODES in turns.

    A mode that cannot run yields the reason.
    """
    yield
    losses = []
    for _ in range(3):
        losses.append(gradients().detach())
        finish()
        optimizer.zero_grad()
    yield [float(loss) for loss in losses]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    why_not = None
    try:
        replay, _kept = recorded(gradients, optimizer.zero_grad)
        static = [p.grad for p in parameters]
    except Exception as error:  # the reason why it cannot be recorded is part of the result
        why_not = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    while True:
        for _ in range(case.steps):
            optimizer.zero_grad()
            gradients()
            finish()
        wait()
        yield None
        for _ in range(0 if why_not else case.steps):
            replay()
            for p, g in zip(parameters, static):  # the gradients' fixed addresses in the graph
                p.grad = g
            finish()
        wait()
        yield why_not


def recorded_by_cupy(gradients: Callable[[], Any], forget: Callable[[], None]) -> tuple[Callable[[], None], Any]:
    """`gradients` recorded as a CUDA graph: a function that replays it, and the objects that must live as long.

    The optimiser's step is not recorded: AdamW passes its bias corrections to the kernel, and a graph would fix them.
    """
    import cupy

    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with cupy.cuda.using_allocator(pool.malloc), stream:  # memory that is not reused by others
        for _ in range(2):  # the first pass compiles kernels
            gradients()
            forget()
        stream.synchronize()
        stream.begin_capture()
        try:
            loss = gradients()
        except BaseException:
            with suppress(Exception):
                stream.end_capture()
            raise
        graph = stream.end_capture()

    def replay() -> None:
        stream.wait_event(cupy.cuda.get_current_stream().record())  # wait for the previous optimiser step
        graph.launch(stream)
        cupy.cuda.get_current_stream().wait_event(stream.record())

    return replay, (pool, loss)


def recorded_by_torch(gradients: Callable[[], Any], forget: Callable[[], None]) -> tuple[Callable[[], None], Any]:
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            gradients()
            forget()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = gradients()
    return graph.replay, loss
