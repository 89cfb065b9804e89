"""The laws of a plan: its state is a function of the step, what it says happens, and what cannot hold is refused."""

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import losses, nn
from minigrad.optim import SGD, AdamW
from minigrad.pretrained import BertConfig, BertForSequenceClassification
from minigrad.pretrained.checkpoint import safetensors
from minigrad.schedule import cosine_schedule_with_warmup, linear_schedule_with_warmup
from minigrad.train import Trainer, TrainingArguments
from minigrad.train.plan import Plan, cosine, cubic, linear, set

L = "bert.encoder.layer"


def bert(layers=6):
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=9,
            hidden_size=4,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=4,
            num_labels=3,
            max_position_embeddings=16,
        ),
        rng=0,
    )


def of_the_issue():
    return (
        Plan()
        .phase("warm-up", until=0.1, freeze="bert.**", lr=linear(0, 2e-4))
        .phase("fine-tune", until=1.0, unfreeze="bert.encoder.layer.{3..5}.**", lr=cosine(2e-4, 0))
        .at("1 epoch", set("**.LayerNorm", blend=1.0, over=200))
        .every(500, "evaluate", "save")
    )


class Net(nn.Module):
    def __init__(self):
        self.embed, self.body = nn.Linear(2, 3, rng=0), nn.Linear(3, 3, rng=1)
        self.norm, self.drop, self.head = nn.LayerNorm(3), nn.Dropout(0.1), nn.Linear(3, 1, rng=2)
        self.task = "pretraining"

    def forward(self, x):
        return self.head(self.drop(self.norm(self.body(self.embed(x)))))


def of_net():
    return (
        Plan()
        .phase("head", until=6, freeze=["embed.**", "body.**"], lr=linear(0, 0.1), weight_decay=0.1, batch_size=4)
        .phase("body", until=0.5, unfreeze="body.**", lr=0.1, lr_factors={"body.**": 0.5})
        .phase("all", unfreeze="embed.**", lr=cosine(0.1, 0), weight_decay=0.2, batch_size=8)
        .at(0, set("**.LayerNorm", blend=0.0))
        .at("1 epoch", set("**.LayerNorm", blend=1.0, over=5))
        .at(0.75, set("**.Dropout", p=0.3), set("Net", task="fine-tuning"), "evaluate")
    )


def test_the_plan_of_the_issue():
    plan = of_the_issue()
    table = plan.table(total_steps=3000)
    assert [line.split()[0] for line in table.splitlines()[2:7]] == ["0", "300", "1000", "1200", "3000"]
    assert "3 epochs of 1000 steps (assumed" in table and table.endswith("every 500 steps: evaluate, save")
    state = plan.state(700)
    assert (state.phase, state.frozen) == ("fine-tune", (("bert.**", True), (f"{L}.{{3..5}}.**", False)))
    assert state.lr == 1e-4 * (1 + np.cos(np.pi * 400 / 2700)) and state.due == ()
    assert plan.state(1050).settings[0].after(0.0) == 0.25 and plan.state(1200).settings[0].after(0.0) == 1.0
    assert plan.state(500).due == plan.state(3000).due == ("evaluate", "save")


@pytest.mark.parametrize(
    "curve, schedule", [(cosine, cosine_schedule_with_warmup), (linear, linear_schedule_with_warmup)]
)
def test_rates_are_those_of_the_schedules_with_a_warm_up(curve, schedule):
    plan = Plan().phase("up", until=0.1, lr=linear(0, 2e-4)).phase("down", lr=curve(2e-4, 0)).bind(70)
    scheduler = schedule(SGD(nn.Linear(1, 1).parameters(), lr=2e-4), 7, 70)
    expected = [scheduler.lr_at(step)[0] for step in range(71)]
    np.testing.assert_allclose([plan.state(step).lr for step in range(71)], expected, rtol=1e-12, atol=1e-20)


def test_a_cubic_curve_may_have_stairs():
    """Zhu & Gupta 2017, eq. 1: s_f + (s_i - s_f) (1 - t)³; with stairs it moves at the end of each span."""
    plan = Plan().at(10, set("drop", p=cubic(0.1, 0.5), over=20)).bind(40, 10)
    values = [plan.state(step).settings[0].after(0.0) for step in range(10, 41)]
    expected = [0.5 - 0.4 * (1 - min(1, step / 20)) ** 3 for step in range(31)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    stairs = Plan().at(10, set("drop", p=cubic(0.1, 0.5, stairs=4), over=20)).bind(40, 10)
    assert [stairs.state(step).settings[0].after(0.0) for step in range(10, 41)] == [
        expected[min(20, step // 5 * 5)] for step in range(31)
    ]
    assert "cubic(0.1, 0.5, stairs=4)" in stairs.table()
    with pytest.raises(ValueError, match="cubic: stairs is -1; expected a whole number, 0 or more"):
        cubic(0, 1, stairs=-1)


def test_a_state_does_not_depend_on_the_states_asked_for_before():
    plan = of_net().bind(40, 10)
    states = [plan.state(step) for step in range(41)]
    for step in np.random.default_rng(0).permutation(41).tolist():
        assert of_net().bind(40, 10).state(step) == plan.state(step) == states[step]


@pytest.mark.parametrize(
    "when, step",
    [
        (7, 7),
        ("7 steps", 7),
        (0.1, 3),
        ("10%", 3),
        (0.07, 3),
        ("1 epoch", 10),
        ("1.5 epochs", 15),
        ("0.33 epochs", 4),
        (1 / 3, 10),
        (0, 0),
        (0.0, 0),
    ],
)
def test_points_are_steps_parts_or_epochs(when, step):
    plan = Plan().at(when, weight_decay=0.5).bind(30, 10)
    assert [plan.state(s).weight_decay for s in range(31)] == [None] * step + [0.5] * (31 - step)


@pytest.mark.parametrize(
    "period, steps",
    [
        (7, [7, 14, 21, 28]),
        ("1 epoch", [10, 20, 30]),
        (0.3, [9, 18, 27]),
        ("0.25 epochs", [3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30]),
    ],
)
def test_actions_come_back_every_so_often(period, steps):
    plan = Plan().every(period, "save").at(7, "evaluate").bind(30, 10)
    assert [s for s in range(31) if "save" in plan.state(s).due] == steps
    assert [s for s in range(31) if "evaluate" in plan.state(s).due] == [7]


def test_what_a_phase_does_not_say_stays():
    plan = (
        Plan()
        .phase(
            "a", until=4, lr=linear(0, 1), weight_decay=0.1, batch_size=2, freeze="body.**", lr_factors={"head.*": 2}
        )
        .phase("b", until=8, batch_size=4)
        .phase("c", lr=0.5, lr_factors={})
    ).bind(10)
    a, b, c = plan.state(3), plan.state(5), plan.state(9)
    assert (a.lr, b.lr, c.lr) == (0.75, 1.0, 0.5) and (a.batch_size, b.batch_size, c.batch_size) == (2, 4, 4)
    assert a.frozen == b.frozen == c.frozen == (("body.**", True),) and c.weight_decay == 0.1
    assert a.lr_factors == b.lr_factors == (("head.*", 2),) and c.lr_factors == ()


def test_applied_to_a_model():
    model = bert()
    plan = of_the_issue().at(0, set("**.LayerNorm", blend=0.0)).bind(3000, 1000, model)
    optimizer = AdamW(plan.param_groups([{"params": model.parameters()}]))
    plan.apply(plan.state(0), optimizer)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["classifier.weight", "classifier.bias"]
    plan.apply(plan.state(1050), optimizer)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        n for n, _ in model.named_parameters() if n.startswith((f"{L}.3", f"{L}.4", f"{L}.5", "classifier"))
    }
    assert {m.blend for m in model.modules() if isinstance(m, nn.LayerNorm)} == {0.25}
    assert optimizer.param_groups[0]["lr"] == plan.state(1050).lr


def test_what_is_applied_is_what_the_plan_says_at_every_step_and_from_any_step():
    def run(start, stop, model):
        plan = of_net().bind(40, 10, model)
        optimizer = SGD(plan.param_groups([{"params": model.parameters()}]), lr=9.0)
        if start:
            plan.apply(plan.state(start - 1), optimizer)
        log = []
        for step in range(start, stop):
            changed = plan.apply(plan.state(step), optimizer)
            rates = {
                n: group["lr"]
                for group in optimizer.param_groups
                for p in group["params"]
                for n, q in model.named_parameters()
                if p is q
            }
            factor = 0.5 if 6 <= step else 1.0
            lr = [0.1 * step / 6, 0.1, 0.05 * (1 + np.cos(np.pi * (step - 20) / 20))][(step >= 6) + (step >= 20)]
            assert rates["body.bias"] == pytest.approx(lr * factor, abs=1e-15)
            assert rates["head.bias"] == pytest.approx(lr, abs=1e-15)
            assert {g["weight_decay"] for g in optimizer.param_groups} == {0.1 if step < 20 else 0.2}
            blend = np.clip((step - 10) / 5, 0, 1)
            assert (model.norm.blend, model.drop.p) == (pytest.approx(blend), 0.3 if step >= 30 else 0.1)
            assert model.task == ("fine-tuning" if step >= 30 else "pretraining")
            assert model.embed.weight.requires_grad == (step >= 20) and model.body.weight.requires_grad == (step >= 6)
            told = {
                key: value for key, value in plan.changes(step).items() if key not in ("phase", "batch_size", "moving")
            }
            changed.pop("lr", None)
            if step in plan.points:
                assert changed == told
                log.append((step, plan.changes(step)))
            else:
                assert told == {} and changed.keys() <= {"settings"}  # on its way
        return log

    whole = run(0, 40, Net())
    assert [step for step, _ in whole] == [0, 6, 10, 15, 20, 30]
    assert whole[0][1] == {
        "phase": "head",
        "frozen": ["embed.weight", "embed.bias", "body.weight", "body.bias"],
        "settings": {"norm.blend": 0.0},
        "weight_decay": 0.1,
        "batch_size": 4,
    }
    assert whole[2][1] == {"moving": ["**.LayerNorm: blend → 1 over 5 steps"]}
    assert whole[3][1] == {"settings": {"norm.blend": 1.0}}
    assert whole[-1][1] == {"settings": {"drop.p": 0.3, "task": "fine-tuning"}}
    for start in range(40):
        assert run(start, 40, Net()) == [(step, told) for step, told in whole if step >= start]


def test_the_same_plan_and_model_are_the_same_run_again():
    model, plan = Net(), of_net()
    first = plan.bind(40, 10, model)
    first.apply(first.state(33))
    again = plan.bind(40, 10, model)
    assert [again.changes(step) for step in range(41)] == [first.changes(step) for step in range(41)]
    again.apply(again.state(0))
    assert (model.drop.p, model.task, model.norm.blend) == (0.1, "pretraining", 0.0)


@pytest.mark.parametrize("cls", [SGD, AdamW])
def test_the_optimisers_memory_of_a_frozen_parameter_is_left_alone(cls):
    model = Net()
    plan = Plan().phase("a", until=3, lr=0.1).phase("b", until=6, freeze="body.**").phase("c", unfreeze="body.**")
    plan = plan.bind(9, 9, model)
    options = {"momentum": 0.9} if cls is SGD else {}
    optimizer = cls(plan.param_groups([{"params": model.parameters()}]), lr=0.1, **options)
    memory, weight = [], []
    for step in range(9):
        plan.apply(plan.state(step), optimizer)
        model(mg.Tensor(np.ones((2, 2), np.float32) * (step + 1))).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        memory.append({k: np.array(v) for k, v in optimizer.state[model.body.weight].items()})
        weight.append(model.body.weight.numpy().copy())
    for step in (3, 4, 5):
        assert all(np.array_equal(memory[step][key], memory[2][key]) for key in memory[2])
        np.testing.assert_array_equal(weight[step], weight[2])
    assert not np.array_equal(weight[6], weight[5])


def test_vectors_keep_no_weight_decay_and_groups_are_split_by_rate():
    model = Net()
    plan = Plan().phase("all", lr=1.0, lr_factors={"embed.*": 0.25, "body.*": 0.5}, weight_decay=0.3).bind(5, 5, model)
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    optimizer = AdamW(
        plan.param_groups([{"params": matrices}, {"params": vectors, "weight_decay": 0.0, "name": "no_decay"}])
    )
    plan.apply(plan.state(2), optimizer)
    assert sorted((g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups) == [
        (0.25, 0.0, 1),
        (0.25, 0.3, 1),
        (0.5, 0.0, 1),
        (0.5, 0.3, 1),
        (1.0, 0.0, 3),
        (1.0, 0.3, 1),
    ]
    with pytest.raises(ValueError, match="param_groups"):
        plan.apply(plan.state(2), AdamW(model.parameters()))


def test_a_frozen_model_stays_frozen_where_the_plan_says_nothing_of_it():
    model = Net()
    model.freeze("embed.**")
    plan = Plan().phase("a", until=3, freeze="body.**").phase("b", unfreeze="body.**").bind(6, 6, model)
    plan.apply(plan.state(4))
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["embed.weight", "embed.bias"]


@pytest.mark.parametrize(
    "plan, words",
    [
        (lambda: Plan().phase("a", freeze="bert.encodr.layer.*.**"), "bert.encoder.layer"),
        (lambda: Plan().at(1, unfreeze="classifer.*"), "nearest names are classifier"),
        (lambda: Plan().phase("a", lr=1, lr_factors={"bert.embedings.**": 0.1}), "bert.embeddings"),
        (lambda: Plan().at(1, set("**.LayerNrm", blend=1.0)), "LayerNorm"),
        (lambda: Plan().at(1, set("**.LayerNorm", blnd=1.0)), "has blend"),
        (lambda: Plan().at(1, set("**.Dropout", p=1.5)), "probability"),
        (lambda: Plan().at(1, set("**.Dropout", p=linear(0.5, 1), over=3)), "probability"),
        (lambda: Plan().at(1, set("**.Dropout", p="high")), "same type"),
        (lambda: Plan().phase("a", freeze="**"), "every parameter is frozen"),
        (
            lambda: Plan().phase("a", lr=1, lr_factors={"bert.**": 0.1, "bert.pooler.**": 0.2}),
            "overlap.*both match bert.pooler",
        ),
        (lambda: Plan().at(5, freeze="bert.**").at(5, unfreeze="bert.pooler.**"), "overlap.*bert.pooler"),
        (
            lambda: (
                Plan().at(5, set("**.LayerNorm", blend=0.5, over=10)).at(12, set("bert.embeddings.LayerNorm", blend=1))
            ),
            "overlap",
        ),
    ],
)
def test_a_plan_that_does_not_fit_the_model_is_refused_with_the_nearest_names(plan, words):
    with pytest.raises((ValueError, TypeError), match=words):
        plan().bind(30, 10, bert(1))


@pytest.mark.parametrize(
    "plan, words",
    [
        (lambda: Plan().phase("a", until=0.5).phase("b", until=0.4), "overlap"),
        (lambda: Plan().phase("a", until=20).phase("b", until="1 epoch").phase("c"), "overlap"),
        (lambda: Plan().phase("a", until=10), "until=1.0"),
        (lambda: Plan().phase("a", until=31), "after the end"),
        (lambda: Plan().phase("a", until="4 epochs"), "after the end"),
        (lambda: Plan().at(30, weight_decay=0.1), "would hold in no step"),
        (lambda: Plan().at(5, batch_size=4).at("0.5 epochs", batch_size=8), "overlap.*batch_size at step 5"),
        (lambda: Plan().phase("a", weight_decay=0.1).at(0, weight_decay=0.2), "overlap"),
        (lambda: Plan().at(5, freeze="a.**").at(5, unfreeze="a.**"), "overlap"),
        (lambda: Plan().at(5, set("n", p=0.1, over=10)).at(14, set("n", p=0.2)), "overlap"),
        (lambda: Plan().at(5, set("n", p=0.1)).at(5, set("n", p=0.2)), "overlap"),
        (lambda: Plan().every("0.01 epochs", "save"), "less than a step"),
        (lambda: Plan().phase("a").phase("a"), "its own name"),
        (lambda: Plan().phase("a", until=0.5).phase("b", lr=1), "first phase, has none"),
        (lambda: Plan().phase("a", lr=-1), "0 or more"),
        (lambda: Plan().phase("a", lr="fast"), "expected a number"),
        (lambda: Plan().phase("a", batch_size=0), "whole number"),
        (lambda: Plan().phase("a", lr_factors={"x": 1.0}), "give lr, too"),
        (lambda: Plan().phase("a", until=1.5), "fraction of the run"),
        (lambda: Plan().phase("a", until="soon"), "'3 epochs'"),
        (lambda: Plan().at(True, "save"), "steps such as 500"),
        (lambda: Plan().at(-1, "save"), "steps such as 500"),
        (lambda: Plan().at(3), "changes nothing"),
        (lambda: Plan().at(3, "evalute"), "expected 'evaluate'"),
        (lambda: Plan().every(3), "give it actions"),
        (lambda: Plan().at(3, freeze="a***b"), "stars"),
        (lambda: Plan().at(3, set("n")), "has no value"),
        (lambda: Plan().at(3, set("n", p=linear(0, 1))), "over=200"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(plan, words):
    with pytest.raises((ValueError, TypeError), match=words):
        plan().bind(30, 10)


def test_a_plan_says_what_it_needs():
    with pytest.raises(ValueError, match="total_steps=3000"):
        of_net().state(7)
    with pytest.raises(ValueError, match="not bound to a model"):
        of_net().bind(40, 10).apply(of_net().state(0, 40, 10))
    with pytest.raises(ValueError, match="from 0 to 40"):
        of_net().bind(40, 10).state(41)
    with pytest.raises(ValueError, match="total_steps is 0"):
        of_net().bind(0)


def test_a_change_that_changes_nothing_is_told():
    with pytest.warns(UserWarning, match=r"blend → 1 over 5 steps, at step 2, changes nothing.*begin with .at\(0"):
        Plan().at(2, set("**.LayerNorm", blend=1.0, over=5)).bind(30, 10, Net())


def test_a_setting_may_follow_a_curve():
    model = Net()
    plan = Plan().at(4, set("drop", p=cosine(0.4, 0.0), over=8)).bind(30, 10, model)
    plan.apply(plan.state(8))
    assert model.drop.p == pytest.approx(0.2)
    plan.apply(plan.state(20))
    assert model.drop.p == 0.0


def test_a_plan_is_not_changed_by_additions_to_it():
    first = Plan().phase("a", until=0.5, lr=1.0)
    second = first.phase("b")
    assert repr(first) == "Plan(phase 'a')" and repr(second) == "Plan(phase 'a', phase 'b')"
    assert second.table(10) and first._bound is None


# A plan in a Trainer


class Words(nn.Module):
    """A classifier of rows of numbers, with all that a plan may change."""

    def __init__(self):
        self.embed, self.body = nn.Linear(4, 6, rng=0), nn.Linear(6, 6, rng=1)
        self.norm, self.drop, self.head = nn.LayerNorm(6), nn.Dropout(0.1, rng=2), nn.Linear(6, 3, rng=3)
        self.sizes = []

    def forward(self, x, labels=None):
        if self.training:
            self.sizes.append(len(x))
        logits = self.head(self.drop(self.norm(F.tanh(self.body(F.tanh(self.embed(x)))))))
        return {"loss": losses.cross_entropy(logits, labels), "logits": logits}


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return [{"x": one, "label": int(np.argmax(one[:3])), "length": i % 7} for i, one in enumerate(x)]


def stacked(items):
    return {"x": np.stack([item["x"] for item in items]), "labels": np.array([item["label"] for item in items])}


def of_words():
    """Three phases with gradual unfreezing, and one of everything else."""
    return (
        Plan()
        .phase("head", until=6, freeze=["embed.**", "body.**"], lr=linear(0, 0.1), weight_decay=0.1)
        .phase("body", until=0.5, unfreeze="body.**", lr=0.1, lr_factors={"body.**": 0.5}, batch_size=8)
        .phase("all", unfreeze="embed.**", lr=cosine(0.1, 0), weight_decay=0.2)
        .at(0, set("**.LayerNorm", blend=0.0))
        .at("1 epoch", set("**.LayerNorm", blend=1.0, over=5))
        .at(0.75, set("**.Dropout", p=0.3), "evaluate", batch_size=4)
        .every(7, "evaluate", "log")
    )


def run_of(output, plan, **arguments):
    arguments = {
        "max_steps": 24,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "save_steps": 1,
        "disable_tqdm": True,
        **arguments,
    }
    return Trainer(
        Words(), TrainingArguments(output, **arguments), rows(40), rows(10, seed=1), data_collator=stacked, plan=plan
    )


def told(trainer):
    """The records without what a clock says."""
    return [
        {key: value for key, value in record.items() if not key.endswith(("runtime", "per_second"))}
        for record in trainer.history
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    trainer = run_of(tmp_path_factory.mktemp("whole"), of_words())
    trainer.train()
    return trainer


def test_the_log_of_a_run_is_what_the_plan_says(whole):
    plan = of_words().bind(24, 10, Words())
    assert [(r["step"], r["plan"]) for r in whole.history if "plan" in r] == [
        (step, plan.changes(step)) for step in (0, 6, 10, 12, 15, 18)
    ]
    assert [r["learning_rate"] for r in whole.history if "learning_rate" in r] == [
        plan.state(step).lr for step in range(24)
    ]
    assert [r["step"] for r in whole.history if "eval_loss" in r] == [7, 14, 18, 21]


def test_batches_have_the_sizes_of_the_plan(whole):
    made, at = [], 0
    for step in range(24):  # micro-batches of 4, of a pass over 40
        size = min(8 if 6 <= step < 18 else 4, 40 - at)
        made += [4] * (size // 4)
        at = (at + size) % 40
    assert whole.model.sizes == made


def test_what_is_frozen_does_not_move_and_what_is_not_does(whole):
    def weights(step):
        return safetensors.read(Path(whole.args.output_dir) / f"checkpoint-{step}" / "model.safetensors")

    first = {name: t.numpy() for name, t in Words().state_dict().items()}
    for step, moved in ((6, {"head"}), (12, {"norm", "head", "body"}), (24, {"norm", "head", "body", "embed"})):
        assert {
            name.split(".")[0] for name, value in weights(step).items() if not np.array_equal(value, first[name])
        } == moved


@pytest.mark.parametrize("step", np.random.default_rng(7).permutation(np.arange(1, 24))[:20].tolist())
def test_a_run_resumed_at_any_step_has_the_bits_and_the_log_of_the_whole_one(whole, tmp_path, step):
    again = run_of(tmp_path, of_words())
    again.train(resume_from_checkpoint=Path(whole.args.output_dir) / f"checkpoint-{step}")
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(again.model.state_dict()[name].numpy(), value.numpy(), err_msg=name)
    assert told(again)[:-1] == told(whole)[:-1]  # the last one tells how long it took
    assert (again.model.norm.blend, again.model.drop.p) == (1.0, 0.3)


def test_a_trainer_goes_on_with_the_model_that_the_plan_has_changed(whole, tmp_path):
    trainer = run_of(tmp_path, of_words())
    trainer.train()
    trainer.train(resume_from_checkpoint=Path(whole.args.output_dir) / "checkpoint-11")
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(trainer.model.state_dict()[name].numpy(), value.numpy(), err_msg=name)
    assert told(trainer)[:-1] == told(whole)[:-1]


def test_a_plan_that_does_not_fit_is_refused_before_the_first_step(tmp_path):
    trainer = run_of(tmp_path / "new", of_words().at(3, freeze="boddy.**"))
    with pytest.raises(ValueError, match="nearest names are body"):
        trainer.train()
    assert not trainer.history and not (tmp_path / "new").exists()


def test_without_a_rate_in_the_plan_the_schedule_of_the_arguments_holds(tmp_path):
    rates = []
    for plan in (None, Plan().at(3, freeze="embed.**")):
        trainer = run_of(tmp_path / str(plan), plan, learning_rate=0.1, save_strategy="no")
        trainer.train()
        rates.append([r["learning_rate"] for r in trainer.history if "learning_rate" in r])
    assert rates[0] == rates[1] and rates[0][0] > rates[0][-1] > 0


def test_what_a_trainer_needs_of_a_plan(tmp_path, whole):
    with pytest.raises(TypeError, match="expected a minigrad.train.Plan"):
        run_of(tmp_path, {"lr": 1})
    trainer = Trainer(
        Words(), TrainingArguments(tmp_path, max_steps=24), rows(40), data_collator=stacked, plan=of_words()
    )
    with pytest.raises(ValueError, match="the plan evaluates the model, but eval_dataset is None"):
        trainer.train()
    other = run_of(tmp_path, of_words().at(20, weight_decay=0.0))
    with pytest.warns(UserWarning, match="was made with another plan"):
        other.train(resume_from_checkpoint=Path(whole.args.output_dir) / "checkpoint-22")


@pytest.mark.parametrize(
    "more",
    [
        {"gradient_accumulation_steps": 2},
        {"bf16": True},
        {"fp16": True},
        {"ema_decay": 0.9},
        {"group_by_length": True},
        {"optim": "sgd", "optim_args": {"momentum": 0.9}},
    ],
    ids=str,
)
def test_a_run_goes_on_with_its_plan_whatever_the_arguments(tmp_path, more):
    made = run_of(tmp_path / "whole", of_words(), **more)
    made.train()
    for step in (5, 13, 18):
        again = run_of(tmp_path / "again", of_words(), **more)
        again.train(resume_from_checkpoint=tmp_path / "whole" / f"checkpoint-{step}")
        for name, value in made.model.state_dict().items():
            np.testing.assert_array_equal(again.model.state_dict()[name].numpy(), value.numpy(), err_msg=name)
        assert told(again)[:-1] == told(made)[:-1]


@pytest.mark.parametrize("period", [0, 0.0, "0 epochs", "0%"])
def test_a_period_of_no_length_is_refused_where_it_is_typed(period):
    with pytest.raises(ValueError, match=r"every\(.*\) has no length: give a period of one step or more"):
        Plan().every(period, "save")
