"""Distillation: a small model, the student, learns from what a large one, the teacher, answers and computes inside.

    minigrad distill outputs/teacher 3 --train train.csv --output outputs/student

trains a student of 3 of the teacher's layers.  The loss is (1 - alpha) · that of the labels + alpha · that of the
teacher's answers, and on request hidden states and attention are compared layer by layer.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .. import functional as F
from .. import losses, ops
from ..data.text import IGNORED
from ..distributed import printing_once
from ..errors import is_number, is_whole
from ..execution import no_grad
from ..pretrained import PretrainedModel, seen
from ..pretrained.blocks import keep, layers_of
from ..pretrained.inputs import as_given
from ..tasks import Task, task_class, task_of
from ..tasks.texts import MAX_LENGTH
from ..tensor import Tensor
from ..train.batches import called, compared, labels_of, loss_and_logits, shifts
from ..train.finetune import Source, check_apart, complete, listed, trainer_for
from ..train.task_trainer import TaskTrainer
from ..train.trainer import Trainer
from .pruning import evenly


def soft_target_loss(student: Tensor, teacher: Any, temperature: float = 2.0, counted: Any = None) -> Tensor:
    """T² · the divergence of softmax(student / T) from softmax(teacher / T), a mean over the rows that count.

    T² keeps the gradients of a size that does not depend on T (Hinton, Vinyals & Dean 2015, sec. 2).

    Args:
        student, teacher: scores (…, classes).
        temperature: T; the higher, the more the teacher's small probabilities count.
        counted: (…), which rows count; by default all.
    """
    wanted = teacher if isinstance(teacher, Tensor) else Tensor(teacher, dtype=student.dtype, device=student.device)
    given, wanted = (ops.log_softmax(scores / temperature, -1) for scores in (student, wanted))
    rows = ops.sum(losses.kl_div(given, wanted, reduction="none", log_target=True), -1) * temperature**2
    return ops.mean(rows) if counted is None else ops.sum(rows * counted) / max(int(np.sum(counted)), 1)


def hidden_loss(student: Any, teacher: Any, mask: Any = None) -> Tensor:
    """The mean squared difference of hidden states (B, T, D) at the tokens that `mask` (B, T) has.

    Jiao et al. 2020 (TinyBERT), eq. 8, for a student of the teacher's width.
    """
    _check_widths(student, teacher)
    difference = student - teacher
    return _over_tokens(ops.mean(difference * difference, -1), mask)


def cosine_loss(student: Any, teacher: Any, mask: Any = None) -> Tensor:
    """1 - the cosine between hidden states (B, T, D), a mean over the tokens that `mask` (B, T) has.

    Sanh et al. 2019 (DistilBERT), sec. 3.
    """
    _check_widths(student, teacher)
    B, T, D = student.shape
    rows = losses.cosine_embedding_loss(
        ops.reshape(student, (B * T, D)), ops.reshape(teacher, (B * T, D)), np.ones(B * T, np.int64), reduction="none"
    )
    return _over_tokens(ops.reshape(rows, (B, T)), mask)


def attention_loss(student: Any, teacher: Any, mask: Any = None) -> Tensor:
    """The squared difference of attention weights (B, heads, T, S), summed over S; a mean over heads and tokens.

    The tokens are those that `mask` (B, T) has.  Jiao et al. 2020 (TinyBERT), eq. 7, of the weights after the softmax.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"the attention of the student is {student.shape}, (batch, heads, T, S), and of the teacher "
            f"{teacher.shape}; expected as many heads: set attention_weight to 0"
        )
    difference = student - teacher
    return _over_tokens(ops.mean(ops.sum(difference * difference, -1), 1), mask)


def _check_widths(student: Any, teacher: Any) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"the hidden states of the student have {student.shape[-1]} features and those of the teacher "
            f"{teacher.shape[-1]}; expected as many: set hidden_weight and cosine_weight to 0"
        )


def _over_tokens(values: Any, mask: Any) -> Tensor:
    """The mean over the examples of the mean over the tokens (B, T) of each that the mask has."""
    if mask is None:
        return ops.mean(values)
    mask = as_given(mask).astype(np.float32)
    return ops.mean(ops.sum(values * mask, 1) / mask.sum(1))


class DistillationTrainer(TaskTrainer):
    """A TaskTrainer whose loss also compares the model, the student, with a teacher; evaluations are the student's own.

    Args:
        teacher: a model for the same task, labels and inputs.  It is not trained; its labels are brought into the
            student's order.
        temperature: of `soft_target_loss`.
        alpha: the part of the loss that is the teacher's answers; the rest is that of the labels.
        hidden_weight, cosine_weight, attention_weight: factors of `hidden_loss`, `cosine_loss` and `attention_loss`,
            which are added to the loss.
        layer_map: {number of a hidden state of the student: that of the teacher's}, where 0 is the embeddings and i the
            state after i layers; attention weights are compared for the same pairs, but 0.  By default evenly.
    """

    def __init__(
        self,
        task: Task,
        args: Any,
        *datasets: Any,
        teacher: PretrainedModel,
        temperature: float = 2.0,
        alpha: float = 0.5,
        hidden_weight: float = 0.0,
        cosine_weight: float = 0.0,
        attention_weight: float = 0.0,
        layer_map: Mapping[int, int] | None = None,
        **more: Any,
    ):
        if not (is_number(temperature) and temperature > 0):
            raise ValueError(f"temperature is {temperature!r}; expected a number above 0, such as 2.0")
        if not (is_number(alpha) and 0 <= alpha <= 1):
            raise ValueError(f"alpha is {alpha!r}; expected the teacher's part of the loss, from 0.0 to 1.0")
        self.weights = {"hidden": hidden_weight, "cosine": cosine_weight, "attention": attention_weight}
        for name, weight in self.weights.items():
            if not (is_number(weight) and weight >= 0):
                raise ValueError(f"{name}_weight is {weight!r}; expected a factor of that loss, 0 or more")
        if attention_weight and args.gradient_checkpointing:
            raise ValueError(
                "attention_weight needs the attention of all layers, which gradient_checkpointing does not keep: leave "
                "one of them out"
            )
        self.teacher, self.temperature, self.alpha = teacher.eval(), temperature, alpha
        align_labels(teacher, task.model)
        self.layer_map = layer_map
        super().__init__(task, args, *datasets, **more)

    def training_step(self, batch: Any) -> Any:
        """The student's loss for a batch; in training with the parts that compare it with the teacher."""
        if not self.model.training:
            return super().training_step(batch)
        names = ["hidden_states"] * bool(self.weights["hidden"] or self.weights["cosine"])
        names += ["attentions"] * bool(self.weights["attention"])
        with no_grad(), seen.kept(*names) as wanted:
            answered = called(self.teacher, batch)
        with seen.kept(*names) as own:
            out = Trainer.training_step(self, batch)
        found = self.judged(batch, out)
        loss = (1 - self.alpha) * found["loss"] + self.alpha * self.answers_loss(out, answered, batch)
        for part in [name for name, found in own.items() if found]:
            loss = loss + self.inner_loss(part, own[part], wanted.get(part, []), batch)
        return {"loss": loss, "logits": found["logits"]}

    def answers_loss(self, out: Any, answered: Any, batch: Any) -> Tensor:
        """How far the student's answers to a batch are from the teacher's, by the kind of the labels."""
        problem = getattr(self.model.config, "problem_type", None)
        if hasattr(out, "start_logits"):
            ends = [(getattr(out, name), getattr(answered, name)) for name in ("start_logits", "end_logits")]
            return sum(soft_target_loss(*pair, self.temperature) for pair in ends) / 2  # type: ignore[return-value]
        student, teacher = loss_and_logits(out)[1], loss_and_logits(answered)[1]
        if problem == "regression":
            return losses.mse_loss(student, teacher)
        if problem == "multi_label_classification":
            T = self.temperature
            return T * T * losses.binary_cross_entropy_with_logits(student / T, F.sigmoid(teacher / T))
        labels, counted = labels_of(batch), None
        if labels is not None and student.ndim == 3:  # an answer for each token
            if shifts(self.model):
                student, teacher = student[:, :-1], teacher[:, :-1]
            counted = compared(self.model, as_given(labels)) != IGNORED
        return soft_target_loss(student, teacher, self.temperature, counted)

    def inner_loss(self, part: str, own: Sequence[Tensor], wanted: Sequence[Tensor], batch: Any) -> Tensor:
        """The weighted losses of hidden states, or of attention weights, a mean over the pairs of layers."""
        first = 0 if part.endswith("hidden_states") else 1  # the number of the first entry
        pairs = self.pairs(len(own) - 1 + first, len(wanted) - 1 + first)
        mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
        compare = {"hidden": hidden_loss, "cosine": cosine_loss} if first == 0 else {"attention": attention_loss}
        total: Any = 0.0
        for name, function in compare.items():
            if weight := self.weights[name]:
                found = [function(own[s - first], wanted[t - first], mask) for s, t in pairs.items() if s >= first]
                total = total + weight * sum(found) / len(found)  # type: ignore[operator]
        return total

    def check(self) -> None:
        """Raise ValueError, before a run begins, if student and teacher cannot be compared as asked."""
        batch = self.collator([self.train_dataset[0]])
        self.model.train()
        with no_grad():
            self.training_step(batch)
        self.model.eval()

    def comparison(self) -> str:
        """Student and teacher beside each other: their numbers of weights, and their scores on the evaluation data."""
        rows: list[tuple[str, ...]] = [("", "weights", "eval loss", *self.task.metrics[:1])]
        judge = copy.copy(self.task)
        judge.model = self.teacher
        for name, task in (("student", self.task), ("teacher", judge)):
            found = TaskTrainer(task, self.args, eval_dataset=self.eval_dataset).measured(self.eval_dataset, "eval")
            scores = [found["eval_loss"], *(found[f"eval_{metric}"] for metric in task.metrics[:1])]
            size = sum(p.size for p in task.model.parameters())
            rows.append((name, f"{size:,}", *(f"{score:.4f}" for score in scores)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)

    def pairs(self, own: int, wanted: int) -> dict[int, int]:
        """Which state of the teacher each of the student is compared with.

        Raises ValueError if the map has one that is not there, or there are more layers in the student.
        """
        if self.layer_map is None:
            if own > wanted:
                raise ValueError(f"the student has {own} layers and the teacher {wanted}: give a layer_map")
            return {i: i * wanted // own for i in range(own + 1)}
        for s, t in self.layer_map.items():
            if not (is_whole(s, 0) and is_whole(t, 0) and s <= own and t <= wanted):
                raise ValueError(
                    f"layer_map has {s!r}: {t!r}; expected states from 0, the embeddings, to {own} of the student and "
                    f"{wanted} of the teacher"
                )
        return dict(self.layer_map)


def align_labels(teacher: PretrainedModel, student: PretrainedModel) -> None:
    """Bring the labels of the teacher into the student's order.  Raises ValueError if they have others."""
    if not student.label_layer:
        return
    wanted, own = (list(model.config.id2label.values()) for model in (student, teacher))
    if sorted(wanted) != sorted(own):
        raise ValueError(
            f"the teacher has the labels {listed(own)}, and the examples {listed(wanted)}: give examples of the "
            "teacher's labels, or fine-tune the teacher on these first"
        )
    if wanted != own:
        keep(teacher.get_submodule(teacher.label_layer), np.array([own.index(name) for name in wanted]), 0)
        teacher.config.id2label = dict(enumerate(wanted))


def student_of(teacher: PretrainedModel, layers: int | Sequence[int]) -> PretrainedModel:
    """A copy of the teacher with some of its layers only: so many, evenly spaced with the last among them, or these.

    DistilBERT began as every other layer of BERT (Sanh et al. 2019, sec. 3).

    Raises ValueError if the teacher does not have them.
    """
    depth = len(layers_of(teacher))
    if isinstance(layers, int) and not 0 < layers <= depth:
        raise ValueError(f"the student is to have {layers} layers; expected 1 to {depth}, which the teacher has")
    kept = evenly(depth, layers) if isinstance(layers, int) else list(layers)
    if not set(kept) <= set(range(depth)) or kept != sorted(set(kept)):
        raise ValueError(f"the student is to have the layers {kept}; expected rising numbers from 0 to {depth - 1}")
    student = copy.deepcopy(teacher)
    student.prune_layers([i for i in range(depth) if i not in kept])
    return student


@printing_once
def distill(
    teacher: str | os.PathLike,
    student: str | os.PathLike | int | Sequence[int],
    train: Source,
    eval: Source | None = None,
    *,
    output: str | os.PathLike,
    task: str | None = None,
    temperature: float = 2.0,
    alpha: float = 0.5,
    hidden_weight: float = 0.0,
    cosine_weight: float = 0.0,
    attention_weight: float = 0.0,
    layer_map: Mapping[int, int] | None = None,
    overwrite: bool = False,
    eval_fraction: float = 0.2,
    freeze: str | Sequence[str] = (),
    ignore_mismatched_sizes: bool = False,
    callbacks: Sequence[Any] = (),
    **arguments: Any,
) -> DistillationTrainer:
    """Train a student with the answers of a teacher that was fine-tuned for a task, and tell how it goes.

    Args:
        teacher: the directory of the fine-tuned model.
        student: the directory of a model that reads what the teacher reads; or a number of layers, or their numbers in
            rising order: then the student begins as the teacher with these layers only, see `student_of`.
        train, eval, output, overwrite, eval_fraction, freeze, ignore_mismatched_sizes, callbacks, arguments: as for
            `finetune`.
        task: by default what the teacher was fine-tuned for.
        temperature, alpha, hidden_weight, cosine_weight, attention_weight, layer_map: see `DistillationTrainer`.

    Returns:
        The trainer, with the best epoch's student as its `model`.

    Raises:
        ValueError: besides what `finetune` raises, the teacher was not fine-tuned, has other labels than the examples,
            or reads another vocabulary than the student.
    """
    kind = task_of(teacher) if task is None else task_class(task)
    check_apart(teacher, output)
    model = kind.model_class.from_pretrained(teacher)
    if model.load_report.newly_initialised:
        raise ValueError(
            f"the teacher in {teacher} was not fine-tuned, it has no {model.load_report.newly_initialised[0]}; type: "
            f"minigrad finetune {teacher} --train FILE --output DIR"
        )
    if "max_length" in kind.options() and MAX_LENGTH in model.config.rest:
        arguments = {"max_length": model.config.rest[MAX_LENGTH]} | arguments
    more = {
        "temperature": temperature,
        "alpha": alpha,
        "hidden_weight": hidden_weight,
        "cosine_weight": cosine_weight,
        "attention_weight": attention_weight,
        "layer_map": layer_map,
    }
    processor = kind().load_processor(teacher)
    with TemporaryDirectory(prefix="student-") as made:  # needed to the end: the tokenizer's files are copied from it
        source: Any = student
        if not isinstance(student, (str, os.PathLike)):
            source = made
            student_of(model, student).save_pretrained(made)
            processor.save_pretrained(made)
        else:
            check_reading(teacher, processor, student, kind().load_processor(student))
        trainer: Any = trainer_for(
            source,
            train,
            eval,
            output,
            kind.name,
            overwrite,
            eval_fraction,
            freeze,
            0,
            ignore_mismatched_sizes,
            callbacks,
            partial(DistillationTrainer, teacher=model, **more),
            **arguments,
        )
        trainer.check()
        complete(trainer, arguments)
    print(f"\n{trainer.comparison()}")
    return trainer


def check_reading(teacher: Any, reader: Any, student: Any, other: Any) -> None:
    """Raise ValueError if the tokenizers of teacher and student have other tokens, or other numbers for them."""
    if hasattr(reader, "get_vocab") and reader.get_vocab() != other.get_vocab():
        raise ValueError(
            f"the teacher in {teacher} reads another vocabulary, of {len(reader)} tokens, than the student in "
            f"{student}, of {len(other)}: give a student with the teacher's tokenizer, or a number of layers instead, "
            f"as in minigrad distill {teacher} 3"
        )
