"""A search compares trials that are runs by themselves, resumes from its file, and leaves the model as it was."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from test_train_run import new_trainer
from test_train_trainer import assert_same, new_model, weights

from minigrad.train import Trainer, TrainerCallback, TrainingArguments


def rates(trial):
    return {"learning_rate": trial.suggest_categorical("learning_rate", [1e-5, 1e-2, 3e-2])}


def searching(output, **more):
    arguments = {"num_train_epochs": 2, "save_strategy": "no", "logging_steps": 1, "report_to": "jsonl", **more}
    return new_trainer(output, **arguments)


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'needs optuna .*: pip install "minigrad-learn\[search\]"'):
        searching(tmp_path).hyperparameter_search()


def test_each_trial_is_the_run_with_its_arguments(tmp_path):
    pytest.importorskip("optuna")
    trainer = searching(tmp_path)
    before = weights(trainer.model)
    best = trainer.hyperparameter_search(rates, n_trials=4, hp_name=lambda trial: f"rate-{trial.number}")
    assert_same(weights(trainer.model), before)
    assert trainer.state.global_step == 0
    study = best.run_summary.study
    assert len(study.trials) == 4 and best.objective == min(trial.value for trial in study.trials)
    for trial in study.trials:
        alone = searching(tmp_path / f"alone-{trial.number}", **trial.params)
        alone.train()
        assert alone.evaluate()["eval_loss"] == trial.value
        assert (tmp_path / f"run-{trial.number}" / "metrics.jsonl").read_text().count(
            "eval_loss"
        ) == 3  # and at the end
    assert best.hyperparameters == study.best_trial.params and best.run_id == str(study.best_trial.number)
    table = best.run_summary.table()
    assert table.count("\n") == 5 and f"{best.run_id} *" in table and "learning_rate" in table.splitlines()[0]
    assert table.endswith("the objective is minimized")
    pytest.importorskip("matplotlib")
    figure = best.run_summary.plot()
    assert [axes.get_xlabel() for axes in figure.axes] == ["trial", "learning_rate"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [trial.value for trial in study.trials])
    rates_tried = [trial.params["learning_rate"] for trial in study.trials]
    assert figure.axes[1].get_xscale() == ("log" if max(rates_tried) > 30 * min(rates_tried) else "linear")


def test_it_goes_on_where_it_was_interrupted(tmp_path):
    pytest.importorskip("optuna")

    class Interrupt(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            if "run-2" in str(args.output_dir):
                raise KeyboardInterrupt

    trainer = searching(tmp_path, callbacks=[Interrupt()])
    before = weights(trainer.model)
    with pytest.raises(KeyboardInterrupt):
        trainer.hyperparameter_search(rates, n_trials=4)
    assert_same(weights(trainer.model), before)
    with pytest.warns(UserWarning, match="already has . trials, which count"):
        best = searching(tmp_path).hyperparameter_search(rates, n_trials=5)
    states = [trial.state.name for trial in best.run_summary.study.trials]
    assert states[:2] == ["COMPLETE"] * 2 and len(states) >= 5 and states.count("COMPLETE") >= 4
    with pytest.raises(
        ValueError, match="the study 'search' already exists, and its direction is minimize, not maximize"
    ):
        searching(tmp_path).hyperparameter_search(rates, n_trials=1, direction="maximize")


def test_the_direction_and_the_objective_follow_the_metric(tmp_path):
    pytest.importorskip("optuna")
    more = {"metric_for_best_model": "accuracy", "num_train_epochs": 1}
    best = searching(tmp_path / "metric", **more).hyperparameter_search(rates, n_trials=2)
    values = [trial.value for trial in best.run_summary.study.trials]
    assert best.run_summary.study.direction.name == "MAXIMIZE" and best.objective == max(values) <= 1
    best = searching(tmp_path / "own", num_train_epochs=1).hyperparameter_search(
        rates, lambda metrics: -metrics["eval_macro_f1"], 2, backend="optuna"
    )
    assert best.objective <= 0 and best.run_summary.study.direction.name == "MINIMIZE"


def test_a_diverging_trial_fails_and_the_search_goes_on(tmp_path):
    pytest.importorskip("optuna")

    def wild(trial):
        return {"learning_rate": [1e-2, 1e30][trial.number % 2], "optim": "sgd", "max_grad_norm": 0.0}

    with np.errstate(all="ignore"):
        best = searching(tmp_path).hyperparameter_search(wild, n_trials=3)
    assert [state for _, state, *_ in best.run_summary.rows()] == ["complete", "fail", "complete"]
    assert best.hyperparameters["optim"] == "sgd"
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="none of the 1 trials was completed"):
        searching(tmp_path / "all").hyperparameter_search(
            lambda trial: {"learning_rate": 1e30, "optim": "sgd"}, n_trials=1
        )


def test_trials_are_pruned(tmp_path):
    optuna = pytest.importorskip("optuna")

    class After(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1 and trial.last_step == 12 and trial.intermediate_values[6] > 0

    best = searching(tmp_path, num_train_epochs=3).hyperparameter_search(rates, n_trials=2, pruner=After())
    assert [state for _, state, *_ in best.run_summary.rows()] == ["complete", "pruned"]


def test_models_are_made_for_each_trial(tmp_path):
    pytest.importorskip("optuna")
    asked = []

    def init(trial):
        asked.append(None if trial is None else trial.params["dropout"])
        return new_model(0.1 if trial is None else trial.params["dropout"])

    def space(trial):
        trial.suggest_categorical("dropout", [0.0, 0.2])
        return {}

    source = searching(tmp_path)
    trainer = Trainer(None, source.args, source.train_dataset, source.eval_dataset, model_init=init)
    best = trainer.hyperparameter_search(space, n_trials=2)
    assert asked[0] is None and asked[1:] == [trial.params["dropout"] for trial in best.run_summary.study.trials]
    assert best.hyperparameters == best.run_summary.study.best_trial.params
    plain = Trainer(None, TrainingArguments(tmp_path), source.train_dataset, model_init=new_model)
    assert_same(weights(plain.model), weights(new_model()))


def test_what_cannot_be_searched_is_said(tmp_path):
    pytest.importorskip("optuna")
    with pytest.raises(ValueError, match="backend is 'ray'; expected \"optuna\""):
        searching(tmp_path).hyperparameter_search(backend="ray")
    trainer = searching(tmp_path, eval_strategy="no")
    with pytest.raises(TypeError, match="no argument 'lr': type learning_rate="):
        trainer.hyperparameter_search(lambda trial: {"lr": 1.0}, n_trials=1)
    trainer.eval_dataset = None
    with pytest.raises(ValueError, match="a search compares evaluations, but eval_dataset is None"):
        trainer.hyperparameter_search()


@pytest.mark.parametrize("more", [{}, {"metric_for_best_model": "loss"}, {"load_best_model_at_end": True}])
def test_what_is_maximised_is_the_sum_of_the_scores_and_never_a_loss(tmp_path, more):
    """Hugging Face's objective: the loss only where an evaluation has nothing else."""
    pytest.importorskip("optuna")
    more = {"num_train_epochs": 1, "save_strategy": "epoch", **more}
    trainer = searching(tmp_path, **more)
    best = trainer.hyperparameter_search(rates, n_trials=3, direction="maximize")
    told = {}
    for trial in best.run_summary.study.trials:
        alone = searching(tmp_path / f"alone-{trial.number}", **more, **trial.params)
        alone.train()
        scores = alone.evaluate()
        told[str(trial.number)] = trial.value
        assert trial.value == scores["eval_accuracy"] + scores["eval_macro_f1"]
    assert best.objective == max(told.values()) == told[best.run_id]


def test_a_direction_against_the_metric_is_refused(tmp_path):
    pytest.importorskip("optuna")
    more = {"num_train_epochs": 1, "prediction_loss_only": True}
    with pytest.raises(ValueError, match="an evaluation has a loss and no score: give compute_metrics"):
        searching(tmp_path, **more).hyperparameter_search(rates, n_trials=1, direction="maximize")
    trainer = searching(tmp_path, metric_for_best_model="accuracy")
    with pytest.raises(ValueError, match="direction is 'minimize', but accuracy, .* is better the greater it is"):
        trainer.hyperparameter_search(rates, n_trials=1, direction="minimize")
    trainer = searching(tmp_path, metric_for_best_model="b_loss")
    with pytest.raises(ValueError, match="direction is 'maximize', but b_loss, .* is better the smaller it is"):
        trainer.hyperparameter_search(rates, n_trials=1, direction="maximize")


def rate_named(name, high=1e-2, **fixed):
    return lambda trial: {"learning_rate": trial.suggest_float(name, 1e-5, high), **fixed}


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (rate_named("learning_rate", 1e-1), "learning_rate was FloatDistribution.*here it is FloatDistribution"),
        (rate_named("rate"), "another hp_space .*rate"),
        (rate_named("learning_rate", weight_decay=0.1), "weight_decay was missing, here it is 0.1"),
        (lambda trial: {"warmup_ratio": trial.suggest_float("warmup_ratio", 0.0, 0.5)}, "another hp_space"),
    ],
)
def test_the_answers_of_another_space_are_no_answers(tmp_path, space, text):
    pytest.importorskip("optuna")
    more = {"num_train_epochs": 1}
    first = searching(tmp_path, **more).hyperparameter_search(rate_named("learning_rate"), n_trials=1)
    with pytest.warns(UserWarning, match="already has"), pytest.raises(ValueError, match=text):
        searching(tmp_path, **more).hyperparameter_search(space, n_trials=1)
    with pytest.warns(UserWarning, match="already has"):
        again = searching(tmp_path, **more).hyperparameter_search(rate_named("learning_rate"), n_trials=1)
    assert again[:3] == first[:3]


def test_what_was_found_are_arguments(tmp_path):
    pytest.importorskip("optuna")
    trainer = searching(tmp_path, num_train_epochs=1)
    best = trainer.hyperparameter_search(rate_named("rate", warmup_ratio=0.1), n_trials=2)
    assert set(best.hyperparameters) == {"learning_rate", "warmup_ratio"}
    assert best.hyperparameters["learning_rate"] == best.run_summary.study.best_trial.params["rate"]
    args = replace(trainer.args, **best.hyperparameters)
    assert args.learning_rate == best.hyperparameters["learning_rate"]
