"""A search for hyper-parameters with Optuna: trials of one training run, kept in a file from which it resumes."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from inspect import signature
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from ..amp import GradScaler
from ..optim.clip import NonFiniteError
from ..places import warn
from .arguments import TrainingArguments
from .callbacks import CallbackHandler, TrainerCallback
from .plots import new_figure
from .progress import Progress
from .state import TrainerControl, TrainerState
from .trackers import REPORTS


class BestRun(NamedTuple):
    """The result of `Trainer.hyperparameter_search`, as in Hugging Face's; `run_summary` is the `Search`."""

    run_id: str
    objective: float
    hyperparameters: dict[str, Any]
    run_summary: Search


class Search:
    """All trials of a search; `study` is Optuna's."""

    def __init__(self, study: Any):
        self.study = study

    def rows(self) -> list[tuple[int, str, float | None, dict[str, Any]]]:
        """For each trial its number, how it ended, its objective, and its hyper-parameters."""
        return [
            (trial.number, trial.state.name.lower(), trial.value, trial.user_attrs.get("hyperparameters", trial.params))
            for trial in self.study.trials
        ]

    def names(self) -> list[str]:
        """The hyper-parameters that were varied."""
        return list(dict.fromkeys(name for *_, values in self.rows() for name in values))

    def table(self) -> str:
        """The trials as a table, the best one marked."""
        best, names = self.study.best_trial.number, self.names()
        cells = [["trial", "state", "objective", *names]]
        for number, state, objective, values in self.rows():
            told = "" if objective is None else f"{objective:.6g}"
            cells.append(
                [f"{number}{' *' * (number == best)}", state, told, *(short(values.get(n, "")) for n in names)]
            )
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
        return "\n".join([*lines, f"* the best; the objective is {self.study.direction.name.lower()}d"])

    def plot(self) -> Any:
        """A matplotlib Figure: the objective of each trial and the best so far, and against each hyper-parameter."""
        done = [(n, value, values) for n, _, value, values in self.rows() if value is not None and math.isfinite(value)]
        pick = min if self.study.direction.name == "MINIMIZE" else max
        names = self.names()
        columns = 1 + len(names)
        figure = new_figure(max(3.2 * columns, 6), 3)
        first, *others = figure.subplots(1, columns, squeeze=False)[0]
        numbers, objectives = [number for number, *_ in done], [value for _, value, _ in done]
        first.plot(numbers, objectives, "o", color="tab:blue")
        best = [pick(objectives[: i + 1]) for i in range(len(done))]
        first.step(numbers, best, where="post", color="tab:orange", label="best so far")
        first.set(xlabel="trial", ylabel="objective")
        first.legend(fontsize=8)
        for axes, name in zip(others, names):
            points = [(values[name], value) for _, value, values in done if name in values]
            numeric = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x, _ in points)
            axes.plot([x if numeric else str(x) for x, _ in points], [y for _, y in points], "o", color="tab:blue")
            if numeric and points and 0 < 30 * min(x for x, _ in points) < max(x for x, _ in points):
                axes.set_xscale("log")
            axes.set_xlabel(name)
        return figure


def short(value: Any) -> str:
    """A hyper-parameter as text for a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def default_hp_space(trial: Any) -> dict[str, Any]:
    """The space that Hugging Face searches by default: rate, epochs, seed and batch size."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
        "seed": trial.suggest_int("seed", 1, 40),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8, 16, 32, 64]),
    }


class Reporting(TrainerCallback):
    """Reports each evaluation of a trial to Optuna, which may prune the trial."""

    def __init__(self, trial: Any, objective: Callable[[dict], float], pruned: type[Exception]):
        self.trial, self.objective, self.pruned = trial, objective, pruned

    def on_evaluate(self, args, state, control, metrics, trainer, **more):
        if not trainer.is_training:
            return
        self.trial.report(self.objective(dict(metrics)), state.global_step)
        if self.trial.should_prune():
            raise self.pruned(f"pruned at step {state.global_step}")

    def state_dict(self):
        return {}


def search(
    trainer: Any,
    hp_space: Callable[[Any], dict[str, Any]] | None,
    compute_objective: Callable[[dict[str, float]], float] | None,
    n_trials: int,
    direction: Any,
    hp_name: Callable[[Any], str] | None,
    storage: Any,
    study_name: str | None,
    sampler: Any,
    pruner: Any,
    timeout: float | None,
) -> BestRun:
    """See `Trainer.hyperparameter_search`."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            f'hyperparameter_search needs optuna ({error}): pip install "minigrad-learn[search]"'
        ) from None
    args = trainer.args
    if trainer.eval_dataset is None:
        raise ValueError("a search compares evaluations, but eval_dataset is None; expected a dataset")
    if any(trainer.given):
        raise ValueError("each trial makes its own optimiser and schedule: leave optimizers out")
    if direction is None:
        direction = "maximize" if compute_objective is None and args.greater_is_better else "minimize"
    objective = compute_objective or default_objective(args, direction)
    space = hp_space or default_hp_space
    study = open_study(args, direction, storage, study_name, sampler, pruner)
    check_space(study, space)

    def run(trial: Any) -> float:
        back()
        values = dict(space(trial))
        trial.set_user_attr("hyperparameters", values if trainer.model_init is None else {**trial.params, **values})
        trial.set_user_attr("arguments", values)
        one = trial_of(trainer, trial, values, hp_name)
        one.add_callback(Reporting(trial, objective, optuna.TrialPruned))
        one.train()
        return float(objective(dict(one.evaluate())))

    with restoring(trainer.model) as back:
        study.optimize(run, max(n_trials - finished(study), 0), timeout, catch=(NonFiniteError,))
    try:
        best: Any = study.best_trial
    except ValueError:
        raise ValueError(
            f"none of the {len(study.trials)} trials was completed: lower the learning rates in hp_space"
        ) from None
    return BestRun(str(best.number), best.value, best.user_attrs.get("hyperparameters", best.params), Search(study))


def open_study(
    args: TrainingArguments, direction: Any, storage: Any, study_name: str | None, sampler: Any, pruner: Any
) -> Any:
    """The study of this name, new or resumed; a warning says how many trials it has already."""
    import optuna

    out = Path(args.output_dir)
    if storage is None:
        out.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{(out / 'search.db').absolute()}"
    name = study_name or args.run_name or "search"
    study = optuna.create_study(
        storage=storage, study_name=name, direction=direction, sampler=sampler, pruner=pruner, load_if_exists=True
    )
    if study.direction.name.lower() != direction:
        raise ValueError(
            f"the study {name!r} already exists, and its direction is {study.direction.name.lower()}, not "
            f"{direction}: give another study_name"
        )
    if done := finished(study):
        warn(f"the study {name!r} already has {done} trials, which count: to begin anew, give another study_name")
    if sampler is None:  # a resumed study must not draw the same trials again
        study.sampler = optuna.samplers.TPESampler(seed=args.seed + len(study.trials))
    return study


def check_space(study: Any, space: Callable[[Any], dict[str, Any]]) -> None:
    """Raise ValueError if the study's trials were made with another space, and so answer another question.

    The space is called again for each trial, with the numbers drawn then, and must return the same values.
    """
    from optuna.trial import FixedTrial

    for trial in study.trials:
        if "arguments" not in trial.user_attrs:  # it ended before they were set
            continue
        again, told = FixedTrial(trial.params, trial.number), ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Optuna warns of a number outside the new range
                values = dict(space(again))
        except (ValueError, KeyError) as error:  # it asks for a number that was not drawn
            told = str(error)
        else:
            before, now = ({**trial.distributions}, again.distributions)
            before |= {f"{name}=": value for name, value in trial.user_attrs["arguments"].items()}
            now = {**now, **{f"{name}=": value for name, value in json.loads(json.dumps(values)).items()}}
            differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            if differing:
                name = differing[0]
                told = (
                    f"{name.removesuffix('=')} was {before.get(name, 'missing')}, here it is {now.get(name, 'missing')}"
                )
        if told:
            raise ValueError(
                f"the study {study.study_name!r} has trials of another hp_space ({told}): give another study_name or "
                "output_dir, or the same hp_space"
            )


def finished(study: Any) -> int:
    """The number of finished trials of a study."""
    return sum(trial.state.is_finished() for trial in study.trials)


def default_objective(args: TrainingArguments, direction: str) -> Callable[[dict[str, Any]], float]:
    """`metric_for_best_model` or, where a loss would be maximised, the sum of scores as in Hugging Face's.

    Raises ValueError if the direction is not the one in which the metric improves.
    """
    metric = args.metric_for_best_model or "loss"
    if metric == "loss" and direction == "maximize" and not args.greater_is_better:
        return sum_of_scores
    better = "maximize" if args.greater_is_better else "minimize"
    if direction in ("minimize", "maximize") and direction != better:
        raise ValueError(
            f"direction is {direction!r}, but {metric}, the metric_for_best_model, is better the "
            f"{'greater' if args.greater_is_better else 'smaller'} it is: leave direction out, or give "
            "compute_objective or greater_is_better"
        )
    return partial(metric_of, f"eval_{metric}")


def sum_of_scores(metrics: dict[str, Any]) -> float:
    """The sum of an evaluation's scores, without losses and speeds.  Raises ValueError if there are none."""
    scores = [
        float(value)
        for name, value in metrics.items()
        if name.startswith("eval_") and not name.endswith(("_loss", "_runtime", "_per_second"))
        if isinstance(value, Real)
    ]
    if not scores:
        raise ValueError(
            'direction is "maximize", but an evaluation has a loss and no score: give compute_metrics, '
            'compute_objective, or direction="minimize"'
        )
    return sum(scores)


def metric_of(name: str, metrics: dict[str, Any]) -> float:
    """The metric of that name.  Raises ValueError if the evaluation lacks it."""
    if name not in metrics:
        raise ValueError(
            f"a search compares {name}, but an evaluation has {', '.join(metrics)}: give compute_objective"
        )
    return metrics[name]


def new_model(model_init: Callable[..., Any], trial: Any = None) -> Any:
    """The model of a trial; the trial is passed to `model_init` if that has a parameter for it."""
    asked = [p.name for p in signature(model_init).parameters.values() if p.default is p.empty or p.name == "trial"]
    return model_init(trial) if asked else model_init()


@contextmanager
def restoring(model: Any) -> Iterator[Callable[[], None]]:
    """Restore the model's weights, and which parameters are trained, after the block and at each call."""
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    trained = {name: p.requires_grad for name, p in model.named_parameters()}

    def back() -> None:
        model.load_state_dict(before)
        for name, p in model.named_parameters():
            p.requires_grad = trained[name]

    try:
        yield back
    finally:
        back()


def trial_of(trainer: Any, trial: Any, values: dict[str, Any], hp_name: Callable[[Any], str] | None) -> Any:
    """A copy of the trainer for a trial, with its own output directory."""
    name = {} if hp_name is None else {"run_name": hp_name(trial)}
    out = Path(trainer.args.output_dir) / f"run-{trial.number}"
    model = None if trainer.model_init is None else new_model(trainer.model_init, trial)
    return copy_of(trainer, {"output_dir": out, "resume_from_checkpoint": None, **name, **values}, model)


def copy_of(trainer: Any, changed: dict[str, Any], model: Any = None) -> Any:
    """A copy of the trainer with other arguments, its own state and, if one is given, its own model."""
    one = copy.copy(trainer)
    one.args = replace(trainer.args, **changed)
    if model is not None:
        one.model = model
    one.state, one.control, one.progress = TrainerState(), TrainerControl(), Progress()
    one.scaler = GradScaler(enabled=one.args.fp16)
    one.optimizer = one.lr_scheduler = one.loader = one.ema = one.bound = None
    remade = tuple(REPORTS.values())
    one.handler = CallbackHandler(
        [type(c)() if isinstance(c, remade) else copy.copy(c) for c in trainer.handler.callbacks]
    )
    one.check_datasets()
    return one
