"""Comparing two models: equal ones are, and for each planted mistake the place and the right guess.

(No torch needed here.)
"""

import copy
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, pretrained
from minigrad.cli import main
from minigrad.nn import Parameter
from minigrad.nn.attention import merge_heads, split_heads
from minigrad.nn.module import Module
from minigrad.parity import EQUAL, Parity, Row, compare, distance, families, parity
from minigrad.parity import report as parity_report
from minigrad.parity.causes import Divergence
from minigrad.parity.sides import Side, spelling
from minigrad.pretrained import bert

TINY = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "num_labels": 3,
    "initializer_range": 0.2,
}
rng = np.random.default_rng(0)
BATCH = {
    "input_ids": rng.integers(1, 20, (3, 6)),
    "attention_mask": (np.arange(6) < np.array([[6], [3], [5]])).astype(int),
    "labels": np.array([0, 2, 1]),
}
WORDS = BATCH | {"labels": rng.integers(0, 20, (3, 6))}


def model(kind=bert.BertForSequenceClassification, **changes):
    made = kind(bert.BertConfig(**TINY | changes), rng=0)
    draw = np.random.default_rng(1)
    for p in made.parameters():  # biases and scales too are far from where they begin
        p.copy_(p.data + draw.standard_normal(p.shape) * 0.1)
    return made.eval()


def become(module, forward):
    """Change what one module computes, in a way that a copy of it has, too: `forward(super's, self, *args)`."""
    kind = type(module)
    module.__class__ = type(
        kind.__name__,
        (kind,),
        {"forward": lambda self, *args: forward(lambda *given: kind.forward(self, *given), self, *args)},
    )


def attentions(of):
    return [layer.attention.self for layer in of.bert.encoder.layer]


def masked_by(value):
    def plant(of):
        for attention in attentions(of):
            become(
                attention,
                lambda forward, self, x, mask: forward(
                    x, None if value is None else np.where(mask, 0, value).astype(x.dtype)
                ),
            )

    return plant


def by_hand(value):
    """Attention written with a softmax, as in any port, that adds `value` to what is masked."""

    def forward(_, self, x, mask):
        q, k, v = (
            mg.swapaxes(part(x).reshape(*x.shape[:2], 2, 8), 1, 2) for part in (self.query, self.key, self.value)
        )
        scores = q @ k.mT * 8**-0.5 + np.where(mask, 0, value).astype(x.dtype)
        return mg.swapaxes(scores.softmax() @ v, 1, 2).reshape(*x.shape)

    def plant(of):
        for attention in attentions(of):
            become(attention, forward)

    return plant


def causal(of):
    for attention in attentions(of):
        become(attention, lambda forward, self, x, mask: forward(x, mask & np.tri(x.shape[1], dtype=bool)))


def causal_by_flag(of):
    for attention in attentions(of):
        become(
            attention,
            lambda _, self, x, mask: merge_heads(
                F.scaled_dot_product_attention(
                    *(split_heads(part(x), 2) for part in (self.query, self.key, self.value)), mask, is_causal=True
                )
            ),
        )


def transposed(of):
    weight = of.bert.encoder.layer[1].attention.output.dense.weight
    weight.copy_(weight.data.T.copy())


def used_transposed(of):
    become(of.bert.encoder.layer[1].attention.output.dense, lambda _, self, x: x @ self.weight + self.bias)


def dropout(of):
    of.train()


def other_dropout(of):
    of.train().bert.embeddings.dropout.rng = np.random.default_rng(5)


def eager_dropout(of):
    become(of.bert.embeddings.dropout, lambda _, self, x: F.dropout(x, 0.1, True, rng=self.rng))


def attribute(path, **values):
    def plant(of):
        vars(dict(of.named_modules())[path]).update(values)

    return plant


def changed(path, forward):
    def plant(of):
        become(dict(of.named_modules())[path], forward)

    return plant


def exchanged(of):
    attention = attentions(of)[0]
    attention.query.weight, attention.key.weight = attention.key.weight, attention.query.weight


def fresh(of):
    of.draw(list(of.state_dict()), 3)


LAYER = "bert.encoder.layer.0"
GELUS = {"exact": F.gelu, "tanh": lambda x: F.gelu(x, "tanh")}
PLANTED = {  # what is done to ours, to the reference, and what is then said
    "eps": (
        attribute("bert.embeddings.LayerNorm", eps=1e-5),
        None,
        r"^activations: bert.embeddings.LayerNorm .*given the same.* "
        r"eps is 1e-05 in ours and 1e-12 in .* all \d+ results",
    ),
    "eps of one later layer": (
        attribute(f"{LAYER}.output.LayerNorm", eps=1e-6),
        None,
        r"layer.0.output.LayerNorm .*eps is 1e-06 in ours and 1e-12 in .* all",
    ),
    "eps of the reference": (
        None,
        attribute("bert.embeddings.LayerNorm", eps=1e-5),
        "1e-12 in ours and 1e-05 in the reference",
    ),
    "an eps nobody uses": (
        attribute("bert.embeddings.LayerNorm", eps=1e-2),
        attribute("bert.embeddings.LayerNorm", eps=1e-9),
        "0.01 in ours and 1e-09",
    ),
    "tanh for exact GELU": (
        attribute(LAYER, activation=GELUS["tanh"]),
        None,
        r"output.dense .*given other inputs inside bert.encoder.layer.0 \(Layer\).* tanh GELU in ours and exact",
    ),
    "exact for tanh GELU": (None, attribute(LAYER, activation=GELUS["tanh"]), "exact GELU in ours and tanh GELU in"),
    "ReLU for GELU": (attribute(LAYER, activation=F.relu), None, "ReLU in ours and exact GELU"),
    "SiLU for GELU": (attribute(LAYER, activation=F.silu), None, "SiLU in ours and exact GELU"),
    "GELU for SiLU": (None, attribute(LAYER, activation=F.silu), "GELU in ours and SiLU"),
    "mask ignored": (
        masked_by(None),
        None,
        "attention.self .*the mask is ignored: attention_mask changes nothing in ours",
    ),
    "mask ignored by the reference": (None, masked_by(None), "the reference ignores attention_mask, ours does not"),
    "mask value": (masked_by(-1.0), None, "the mask value: what ours adds .* does not mask them"),
    "mask value of the reference": (None, masked_by(-10.0), "the mask value: the reference adds -10 to the scores"),
    "mask value by hand": (by_hand(-1.0), None, "the mask value: what ours adds .* does not mask them"),
    "no causal mask": (None, causal, "attention.self .*the causal mask is missing in ours"),
    "causal alone": (causal_by_flag, None, "attention.self .*ours is causal, the reference is not"),
    "scale": (
        changed(f"{LAYER}.attention.self.query", lambda forward, self, x: forward(x) * 8**0.5),
        None,
        "query .*its output is 2.828.* times the reference's: a scale",
    ),
    "scale of the scores": (
        changed(
            f"{LAYER}.attention.self",
            lambda _, self, x, mask: merge_heads(
                F.scaled_dot_product_attention(
                    *(split_heads(f(x), 2) for f in (self.query, self.key, self.value)), mask, scale=1
                )
            ),
        ),
        None,
        "scores of attention are scaled by 1/√d, d the size of a head in the reference",
    ),
    "transposed when loaded": (
        transposed,
        None,
        "^weights: .*layer.1.attention.output.dense.weight.* transposed .*Conv1D",
    ),
    "transposed when used": (
        used_transposed,
        None,
        "layer.1.attention.output.dense .* weight is used transposed in ours",
    ),
    "position offset": (
        changed("bert.embeddings", lambda forward, self, ids, types, at: forward(ids, types, at + 2)),
        None,
        "position_embeddings .*position offset: where ours looks up row 2, the reference looks up row 0",
    ),
    "other positions": (
        changed("bert.embeddings", lambda forward, self, ids, types, at: forward(ids, types, at[:, ::-1].copy())),
        None,
        r"offset, or the ids: where ours looks up \[5 4 3 2 1 0\], the reference looks up \[0 1 2 3 4 5\]",
    ),
    "residual": (
        changed(f"{LAYER}.attention.output", lambda _, self, x, y: self.LayerNorm(self.dense(x))),
        None,
        "attention.output.LayerNorm .*given other inputs inside",
    ),
    "dropout left on": (
        dropout,
        None,
        r"dropout is left on in ours, .* call .eval\(\) on it, and all \d+ results agree",
    ),
    "dropout left on in the reference": (None, dropout, r"dropout is left on in the reference, .* call .eval\(\)"),
    "dropout left on in both": (dropout, other_dropout, r"dropout is left on in ours and the reference"),
    "dropout in evaluation": (eager_dropout, None, "dropout acts in ours, even in evaluation mode"),
    "names exchanged": (
        exchanged,
        None,
        "^weights: .*query.weight.* holds the values that the reference calls .*key.weight: the names are exch",
    ),
    "not loaded": (fresh, None, "^weights: .*every matrix differs: the reference's weights were not loaded"),
    "frozen": (
        lambda of: of.freeze("bert.pooler.**"),
        None,
        "^gradients: bert.pooler.dense.bias.*no gradient reaches it in ",
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", [bert.BertModel, bert.BertForSequenceClassification, bert.BertForMaskedLM])
def test_equal_models(kind, dtype):
    batch = {bert.BertModel: {name: x for name, x in BATCH.items() if name != "labels"}, bert.BertForMaskedLM: WORDS}
    ours = model(kind)
    before = {name: t.numpy().copy() for name, t in ours.state_dict().items()}
    report = parity(ours, model(kind), batch.get(kind, BATCH), dtype=dtype)
    assert report.ok and report.verdict == "equal" and str(report).endswith("\n  equal") and not report.only
    assert {row.units for row in report.rows} == {0}
    weights = len(before)
    assert [report.count(stage) for stage in ("weights", "loss", "gradients", "after the steps", "tokens")] == [
        weights,
        1,
        weights,
        weights,
        0,
    ]
    assert report.count("activations") > 25
    assert all(
        np.array_equal(t.numpy(), before[name]) and t.dtype == np.float32 for name, t in ours.state_dict().items()
    )


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_mistake_is_found_and_guessed(case):
    ours_done, reference_done, told = PLANTED[case]
    ours, reference = model(), model()
    for of, done in ((ours, ours_done), (reference, reference_done)):
        if done:
            done(of)
    report = parity(ours, reference, BATCH)
    assert not report.ok
    said = f"{report.divergence}. {report.divergence.guess}"
    assert re.search(told, said), said


def test_with_the_guess_put_right_nothing_is_left_and_the_models_are_as_they_were():
    ours, reference = model(layer_norm_eps=1e-5), model()
    assert "all 39 results agree" in parity(ours, reference, BATCH).divergence.guess
    for m in ours.modules():
        assert getattr(m, "eps", 1e-5) == 1e-5 and "forward" not in vars(m)
        if hasattr(m, "eps"):
            m.eps = 1e-12
    assert parity(ours, reference, BATCH).ok


def test_two_mistakes_are_found_one_after_the_other():
    ours, reference = model(layer_norm_eps=1e-5, hidden_act="gelu_new"), model()
    first = parity(ours, reference, BATCH).divergence
    assert "eps is 1e-05 in ours" in first.guess and "all" not in first.guess.split(";")[1]
    assert "tanh GELU in ours" in parity(model(hidden_act="gelu_new"), reference, BATCH).divergence.guess


class Net(Module):
    """What the losses below are planted in."""

    def __init__(self, tied=True, padding=None, reduction=None):
        self.embed, self.norm, self.reduction = nn.Embedding(11, 8, padding, rng=0), nn.LayerNorm(8), reduction
        self.norm.bias.copy_(np.linspace(-1, 1, 8))
        self.head = nn.Linear(8, 11, bias=False, rng=1)
        self.head.weight = self.embed.weight if tied else Parameter(self.embed.weight.data.copy())

    def forward(self, ids, labels):
        logits = self.head(self.norm(self.embed(ids)))
        if self.reduction == "shifted":
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, 11), labels[:, 1:].reshape(-1))
        else:
            loss = F.cross_entropy(logits.reshape(-1, 11), labels.reshape(-1), reduction=self.reduction or "mean")
        return {"loss": loss, "logits": logits}


LABELLED = {
    "ids": rng.integers(0, 11, (2, 7)),
    "labels": np.where(rng.random((2, 7)) < 0.3, -100, rng.integers(0, 11, (2, 7))),
}


@pytest.mark.parametrize(
    ("ours", "reference", "told"),
    [
        (
            Net(tied=False),
            Net(),
            "^gradients: head.weight.* of the reference is the sum of .*in ours the head is untied",
        ),
        (Net(), Net(tied=False), "^gradients: head.weight.* of ours is the sum of .*in ours the head is tied"),
        (Net(tied=False, padding=3), Net(tied=False), "^weights: embed.weight"),
        (
            Net(),
            Net(reduction="shifted"),
            "^loss: .*labels shifted by one position, its mean over the labels that are not -100",
        ),
        (Net(reduction="sum"), Net(), "^loss: .*labels in place, its mean over"),
        (Net(), Net(reduction="sum"), "^loss: .*labels in place, its sum"),
    ],
)
def test_losses_and_tied_weights(ours, reference, told):
    divergence = parity(ours, reference, LABELLED).divergence
    assert re.search(told, f"{divergence}. {divergence.guess}"), divergence


def test_an_untied_head_with_numbers_of_its_own():
    ours, reference = Net(tied=False), Net()
    ours.head.weight.copy_(ours.head.weight.data * 2)
    assert (
        "in ours the head is untied: make both attributes the same"
        in parity(ours, reference, LABELLED).divergence.guess
    )
    assert "in the reference the head is untied" in parity(reference, ours, LABELLED).divergence.guess


def test_a_padding_row():
    ours, reference = Net(tied=False), Net(tied=False)
    ours.embed.padding_idx = int(LABELLED["ids"][0, 0])
    guess = parity(ours, reference, LABELLED).divergence.guess
    assert guess == f"row {ours.embed.padding_idx} gets no gradient in ours alone: it is the padding_idx there"


def test_a_residual():
    class Plain(Module):
        def __init__(self):
            self.dense = nn.Linear(4, 4, rng=0)

        def forward(self, x):
            return self.dense(x)

    class Residual(Plain):
        def forward(self, x):
            return self.dense(x) + x

    class Whole(Module):
        def __init__(self, part):
            self.part, self.out = part, nn.Linear(4, 2, rng=1)

        def forward(self, x):
            return self.out(self.part(x))

    x = rng.standard_normal((3, 4)).astype("float32")
    assert "ours lacks the residual" in parity(Whole(Plain()), Whole(Residual()), (x,)).divergence.guess
    assert "once too often" in parity(Whole(Residual()), Whole(Plain()), (x,)).divergence.guess


def renamed(source):
    """The same net in other clothes: other names, and a part that is a module of its own."""

    class Inner(Module):
        def __init__(self):
            self.first, self.second = source.embed, source.norm

        def forward(self, ids):
            return self.second(self.first(ids))

    class Other(Module):
        def __init__(self):
            self.body, self.score = Inner(), source.head

        def forward(self, ids, labels):
            logits = self.score(self.body(ids))
            return {"loss": F.cross_entropy(logits.reshape(-1, 11), labels.reshape(-1)), "logits": logits}

    return Other()


def test_what_has_another_name_is_known_by_its_numbers():
    source = Net(tied=False)
    source.head.weight.copy_(source.head.weight.data[::-1].copy())
    other = renamed(copy.deepcopy(source))
    assert spelling(Side(other, LABELLED, "float64"), Side(source, LABELLED, "float64")) == {
        "body.first.weight": "embed.weight",
        "body.second.weight": "norm.weight",
        "body.second.bias": "norm.bias",
        "score.weight": "head.weight",
        "body.first": "embed",
        "body.second": "norm",
        "score": "head",
    }
    report = parity(source, other, LABELLED)
    assert report.ok and not report.only and report.count("weights") == 4 and report.count("activations") == 4
    assert parity(source, other, LABELLED, dtype="float32").ok
    other.body.second.eps = 1e-3
    divergence = parity(source, other, LABELLED).divergence
    assert divergence.name == "norm" and "1e-05 in ours and 0.001 in the reference" in divergence.guess


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.floats(1e-3, 1e3), st.floats(0, 1e3))
def test_units(values, noise, units):
    x = np.array(values)
    key = ("activations", "y")
    [row] = compare({key: x + units * noise}, {key: x}, {key: noise}, 2**-52)
    assert row == Row("activations", "y", row.units) and row.units == pytest.approx(units, rel=1e-4, abs=1e-4)
    assert row.equal == (row.units <= EQUAL)
    [row] = compare({key: x}, {key: x}, {}, 2**-52)
    assert row.units == 0


def test_rows():
    theirs = {
        ("activations", "b"): np.ones(3),
        ("weights", "a"): np.ones((2, 3)),
        ("activations", "c"): np.ones(2),
        ("tokens", "greedy"): np.array([[1, 2]]),
        ("loss", "loss"): np.array(np.nan),
    }
    ours = theirs | {
        ("activations", "c"): np.ones(4),
        ("weights", "a"): np.ones((3, 2)),
        ("tokens", "greedy"): np.array([[1, 3]]),
    }
    rows = compare(ours, theirs, {}, 2**-52)  # by stage; modules of two shapes are not compared, weights differ
    assert [(row.stage, row.name, row.units) for row in rows] == [
        ("weights", "a", np.inf),
        ("activations", "b", 0),
        ("loss", "loss", 0),
        ("tokens", "greedy", np.inf),
    ]


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ([1, np.inf], [1, np.inf], 0),
        ([np.nan], [np.nan], 0),
        ([np.nan], [1], np.inf),
        ([np.inf], [-np.inf], np.inf),
        ([1, 2], [1, 5], 3),
        ([], [], 0),
    ],
)
def test_distance(a, b, apart):
    assert min(distance(np.array(a, float), np.array(b, float)), 1e300) == min(apart, 1e300)


def test_what_is_computed_in_float32():
    ours = model()
    become(ours.bert.embeddings, lambda forward, self, *given: forward(*given).astype("float32").astype("float64"))
    assert "something is computed in float32 here" in parity(ours, model(), BATCH).divergence.guess


def test_a_guess_is_not_made_up():
    ours, reference = model(), model()
    become(
        ours.bert.encoder.layer[0].attention.output,
        lambda forward, self, x, y: self.LayerNorm(mg.sin(self.dense(x)) + y),
    )
    report = parity(ours, reference, BATCH)
    assert report.divergence.guess is None and "No change that was tried explains it" in report.verdict


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ((3, model(), BATCH), TypeError, "ours is a int: give a minigrad Module first"),
        ((nn.Linear(2, 2, rng=0), nn.Linear(3, 2, rng=0), (np.ones((1, 2)),)), ValueError, "last axis of x is 2 long"),
        ((Net(), Net(), tuple(LABELLED.values()), "float16"), ValueError, 'dtype is .float16.: type "float64"'),
        (
            (nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=0), ()),
            TypeError,
            "missing 1 required positional argument: 'x'",
        ),
    ],
)
def test_bad_arguments(arguments, error, told):
    with pytest.raises(error, match=told):
        parity(*arguments[:3], **dict(zip(["dtype"], arguments[3:])))


def test_without_torch(monkeypatch, capsys):
    for name in ("torch", "minigrad.parity.reference"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "minigrad.parity.reference")
    monkeypatch.delattr("minigrad.parity.reference", raising=False)
    assert main(["parity", "bert"]) == 2
    told = capsys.readouterr().err
    assert "needs torch" in told and told.endswith('pip install "minigrad-learn[parity]"\n')
    with pytest.raises(ImportError, match="needs torch"):
        mg.insight.parity(model(), object(), BATCH)


REPORTS = [
    Parity("Net<1>", "float64", [Row("weights", "a", 0.0), Row("activations", "b", 2.5), Row("tokens", "greedy", 0.0)]),
    Parity(
        "Net2",
        "float32",
        [Row("activations", "b", np.inf)],
        Divergence("activations", "b", "Linear", np.inf, "b", "eps"),
        {"ours (weights)": ["x"]},
    ),
]


def test_table_json_and_html():
    lines = [parity_report.line(parity_report.cells(report)) for report in REPORTS]
    assert lines[0].split() == ["Net<1>", "float64", "1", "0.0", "2.5", "-", "-", "-", "equal", "equal"]
    assert lines[1].split() == ["Net2", "float32", "1", "-", "inf", "-", "-", "-", "-", "differs", "in", "activations"]
    found = json.loads(parity_report.to_json(REPORTS))
    assert (
        found[0]["ok"]
        and found[0]["divergence"] is None
        and found[0]["rows"][1] == {"stage": "activations", "name": "b", "units": 2.5}
    )
    assert found[1]["divergence"] == {
        "stage": "activations",
        "name": "b",
        "module": "Linear",
        "units": "inf",
        "guess": "eps",
    }
    page, opened = parity_report.to_html(REPORTS), []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            opened.extend([] if tag == "meta" else [tag])

        def handle_endtag(self, tag):
            assert opened.pop() == tag

        def handle_data(self, data):
            texts.append(data)

    texts = []
    Reader().feed(page)
    assert (
        not opened
        and "Net<1>, float64" in texts
        and "Net<1>" not in page
        and "first divergence: activations: b" in page
    )


@pytest.mark.parametrize(("reports", "status"), [(REPORTS[:1], 0), (REPORTS, 1)])
def test_command(tmp_path, monkeypatch, capsys, reports, status):
    asked = []
    monkeypatch.setattr(parity_report, "compare_models", lambda *arguments: asked.append(arguments) or iter(reports))
    files = [str(tmp_path / name) for name in ("found.json", "found.html")]
    typed = [
        "parity",
        "bert",
        "--set",
        "hidden_size=64",
        "--set",
        "hidden_act=relu",
        "--dtype",
        "float32",
        "--json",
        files[0],
        "--html",
        files[1],
    ]
    assert main(typed) == status
    assert asked == [("bert", {"hidden_size": 64, "hidden_act": "relu"}, "float32")]
    out = capsys.readouterr().out
    assert out.startswith(parity_report.header()) and ("first divergence" in out) == bool(status)
    assert len(json.loads((tmp_path / "found.json").read_text())) == len(reports)
    assert (tmp_path / "found.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("bret", "'bret' is neither a family nor a directory: expected one of bert, roberta,"),
        ("bert --set hidden_size", "--set hidden_size has no value: type --set hidden_size=64"),
        ("bert --html nowhere/x.html", "there is no directory nowhere to write x.html in"),
        (". --set hidden_size=3", ". is a directory, and its sizes are in its config.json: leave out hidden_size"),
    ],
)
def test_bad_commands(tmp_path, monkeypatch, capsys, typed, told):
    monkeypatch.chdir(tmp_path)
    assert main(["parity", *typed.split()]) == 2
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_families_have_their_classes_here():
    for family in families.FAMILIES.values():
        for head in family.heads:
            kind = getattr(pretrained, family.prefix + head)
            assert issubclass(kind, Module)
            if family.kind != "image":
                batch = families.example(family.kind, head, kind.config_class(**family.size))
                assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, 9)


class Returning(Module):
    """A linear layer whose result is returned in the way that `how` says."""

    def __init__(self, how):
        self.part, self.how = nn.Linear(4, 3, rng=0), how

    def forward(self, x):
        return self.how(self.part(x))


class ReturningTorch:
    def __new__(cls, how):
        torch = pytest.importorskip("torch")

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.part = torch.nn.Linear(4, 3)

            def forward(self, x):
                return how(self.part(x))

        made = Model()
        made.load_state_dict({name: torch.tensor(t.numpy()) for name, t in Returning(None).state_dict().items()})
        return made


X = rng.standard_normal((5, 4)).astype("float32")
WAYS = {
    "bare": lambda y: y,
    "named": lambda y: {"logits": y},
    "tuple": lambda y: (y,),
    "more": lambda y: {"logits": y, "more": y * 2},
    "loss": lambda y: {"loss": (y * y).mean(), "logits": y},
    "both": lambda y: ((y * y).mean(), y),
    "other": lambda y: {"scores": y},
    "nan": lambda y: y * np.nan,
}


@pytest.mark.parametrize("reference", [Returning, ReturningTorch])
@pytest.mark.parametrize(
    "ours, theirs, verdict",
    [
        ("bare", "named", "equal"),
        ("named", "bare", "equal"),
        ("tuple", "named", "equal"),
        ("both", "loss", "equal"),
        ("bare", "loss", r"equal; not compared: loss \(only in the reference\)"),
        ("loss", "named", r"equal; not compared: loss \(only in ours\)"),
        ("named", "more", r"equal; not compared: more \(only in the reference\)"),
        ("other", "named", r"nothing was compared, since no output has .*: ours returns scores .*the reference logits"),
        ("nan", "nan", "nothing was compared, since the outputs have no finite number"),
    ],
)
def test_what_was_not_compared_is_told(reference, ours, theirs, verdict):
    report = parity(Returning(WAYS[ours]), reference(WAYS[theirs]), X)
    assert re.match(verdict + "$" * verdict.startswith("equal"), report.verdict), report.verdict
    assert report.ok == verdict.startswith("equal") and report.verdict in str(report) and report.divergence is None
    assert report.to_dict()["ok"] == report.ok


def test_an_output_without_a_name_is_compared():
    other = Returning(WAYS["named"])
    other.part.bias.copy_(np.ones(3))
    assert not parity(Returning(WAYS["bare"]), other, (X,)).ok
    report = parity(Returning(lambda y: y * 2), ReturningTorch(WAYS["named"]), X)
    assert report.divergence.name == "output logits"


@pytest.mark.parametrize("reference", [Returning, ReturningTorch])
def test_an_empty_batch_is_not_ok(reference):
    report = parity(Returning(WAYS["bare"]), reference(WAYS["bare"]), X[:0])
    assert not report.ok and "the outputs are empty (0 (0, 3)): give a batch" in report.verdict


@pytest.mark.parametrize("reference", [Returning, ReturningTorch])
@pytest.mark.parametrize("frozen", [(True, False), (False, True), (True, True)])
def test_a_frozen_side_is_compared_but_for_its_gradients(reference, frozen):
    ours, theirs = Returning(WAYS["bare"]), reference(WAYS["bare"])
    for one, still in zip((ours, theirs), frozen):
        for p in one.parameters() if still else ():
            p.requires_grad = False
    report = parity(ours, theirs, X)
    assert report.ok and report.count("gradients") == 0 and report.count("activations") == 2
    if frozen[0] != frozen[1]:
        side = "the reference" if frozen[0] else "ours"
        assert (
            report.only[f"{side} (gradients)"] == ["part.bias", "part.weight"]
            and "not compared: gradients" in report.verdict
        )


def test_inputs_that_are_no_arrays_are_refused():
    with pytest.raises(TypeError, match="inputs is a str: give one array, a tuple of arrays, or named ones"):
        parity(Returning(WAYS["bare"]), Returning(WAYS["bare"]), "x")
    with pytest.raises(TypeError, match="a model returned a str: parity compares Tensors"):
        parity(Returning(lambda y: "y"), Returning(WAYS["bare"]), X)
