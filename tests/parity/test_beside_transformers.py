"""`minigrad parity` with real references: every family is equal, planted mistakes are named, the documentation's code
runs.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from minigrad import nn, pretrained  # noqa: E402
from minigrad.cli import main  # noqa: E402
from minigrad.nn import Parameter  # noqa: E402
from minigrad.parity import families, parity, reference  # noqa: E402

DOCUMENT = Path(__file__).parents[2] / "docs" / "parity.md"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """pair(family, head) has `.ours(**config)`, `.theirs()` and `.inputs`; the directory is written once."""
    made = {}

    def of(name, head, **size):
        family, key = families.FAMILIES[name], (name, head, *size.items())
        if key not in made:
            directory = tmp_path_factory.mktemp("model")
            kind = getattr(pretrained, family.prefix + head)
            reference.made(family.prefix, head, family.size | size, directory)
            made[key] = SimpleNamespace(
                directory=directory,
                ours=lambda **config: kind.from_pretrained(directory, **config),
                theirs=lambda: reference.read(family.prefix + head, directory),
                inputs=families.example(family.kind, head, kind.from_pretrained(directory).config),
            )
        return made[key]

    return of


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_is_equal(name):
    reports = list(families.compare_models(name))
    assert reports
    for report in reports:
        assert report.ok, report
        assert not [where for where in report.only if "weights" in where]
        stages = {row.stage for row in report.rows}
        assert stages >= {"weights", "activations", "loss", "gradients", "after the steps"}
        assert ("tokens" in stages) == (re.search("CausalLM|LMHead|Generation", report.title) is not None)


def wrong(pair, told, ours=None, theirs=None, **options):
    report = parity(ours or pair.ours(), theirs or pair.theirs(), pair.inputs, **options)
    said = f"{report.divergence}. {report.divergence and report.divergence.guess}"
    assert re.search(told, said), said


@pytest.mark.parametrize(
    ("family", "head", "config", "told"),
    [
        (
            "bert",
            "ForSequenceClassification",
            {"layer_norm_eps": 1e-5},
            "embeddings.LayerNorm .*eps is 1e-05 in ours and 1e-12 in",
        ),
        (
            "bert",
            "ForSequenceClassification",
            {"hidden_act": "gelu_new"},
            "tanh GELU in ours and exact GELU in the reference",
        ),
        (
            "gpt2",
            "LMHeadModel",
            {"activation_function": "gelu"},
            "mlp.c_proj .* exact GELU in ours and tanh GELU in the reference",
        ),
        ("gpt2", "LMHeadModel", {"layer_norm_epsilon": 1e-6}, "ln_1 .*eps is 1e-06 in ours and 1e-05 in"),
        ("gpt2", "LMHeadModel", {"scale_attn_weights": False}, "scores of attention are scaled by 1/√d"),
        ("t5", "ForConditionalGeneration", {"layer_norm_epsilon": 1e-5}, "eps is 1e-05 in ours and 1e-06 in"),
        ("llama", "ForCausalLM", {"rms_norm_eps": 1e-5}, "input_layernorm .*eps is 1e-05 in ours and 1e-06 in"),
        (
            "vit",
            "ForImageClassification",
            {"hidden_act": "gelu_new"},
            "tanh GELU in ours and exact GELU in the reference",
        ),
    ],
)
def test_a_wrong_configuration(pair, family, head, config, told):
    one = pair(family, head)
    wrong(one, told, one.ours(**config), dtype=families.FAMILIES[family].dtype)


def test_masks(pair, monkeypatch):
    one = pair("bert", "ForSequenceClassification")
    from minigrad.pretrained import bert

    real = bert.padding_mask

    def weak(mask, shape):
        return np.where(real(mask, shape), 0, -10.0)

    for mask, told in (
        (lambda mask, shape: None, "mask is ignored: attention_mask changes nothing in ours"),
        (weak, "the mask value: what ours adds to the scores of padding does not mask them"),
    ):
        monkeypatch.setattr(bert, "padding_mask", mask)
        wrong(one, told)
    monkeypatch.undo()
    theirs = one.theirs()
    kind = type(theirs.bert)
    theirs.bert.__class__ = type(
        "Unmasked",
        (kind,),
        {"forward": lambda self, *args, attention_mask=None, **kwargs: kind.forward(self, *args, **kwargs)},
    )
    wrong(one, "the reference ignores attention_mask, ours does not", None, theirs)


def test_a_conv1d_that_was_not_turned(pair):
    one = pair("gpt2", "LMHeadModel")
    ours = one.ours()
    weight = ours.transformer.h[1].attn.c_proj.weight  # square, so that nothing but the numbers tells
    weight.copy_(weight.data.T.copy())
    wrong(one, "^weights: transformer.h.1.attn.c_proj.weight.* transposed in ours, as when a Conv1D", ours)


def test_an_untied_head(pair):
    one = pair("gpt2", "LMHeadModel")
    ours = one.ours()
    ours.lm_head.weight = Parameter(ours.lm_head.weight.data.copy())
    wrong(one, "^gradients: lm_head.weight.*in ours the head is untied", ours)
    ours.lm_head.weight.copy_(0.5)
    wrong(one, "^weights: lm_head.weight.* tied to transformer.wte.weight, in ours the head is untied", ours)


def test_dropout_left_on(pair):
    one = pair("bert", "ForSequenceClassification")
    wrong(one, r"dropout is left on in ours, .*call .eval\(\) on it, and all \d+ results agree", one.ours().train())
    wrong(one, "dropout is left on in the reference", None, one.theirs().train())
    wrong(one, "dropout is left on in ours and the reference", one.ours().train(), one.theirs().train())


def test_a_position_offset(pair, monkeypatch):
    from minigrad.pretrained.roberta import RobertaModel

    one = pair("roberta", "ForSequenceClassification")
    monkeypatch.setattr(RobertaModel, "positions", lambda self, ids: np.arange(ids.shape[1])[None])
    wrong(
        one,
        r"position_embeddings .*the position offset, or the ids: "
        r"where ours looks up \[0 1 2 3 4 5 6 7 8\], the reference",
    )
    whole = SimpleNamespace(ours=one.ours, theirs=one.theirs, inputs={name: x[:1] for name, x in one.inputs.items()})
    # without padding, all by the same
    wrong(whole, "where ours looks up row 0, the reference looks up row 2, and so on")


def test_a_cache_that_forgets(pair):
    one = pair("gpt2", "LMHeadModel")
    ours = one.ours()
    kind = type(ours)
    ours.__class__ = type(
        "Forgetful",
        (kind,),
        {
            "generate": lambda self, *args, use_cache=True, **options: (
                kind.generate(self, *args, use_cache=use_cache, **options) * (1 - use_cache)
            )
        },
    )
    wrong(one, "^tokens: .*the cache: with use_cache=False ours generates the same tokens as the reference", ours)


def test_torch_models_are_left_as_they_are(pair):
    one = pair("bert", "ForSequenceClassification")
    theirs = one.theirs()
    before = {name: t.clone() for name, t in theirs.state_dict().items()}
    state = torch.get_rng_state()
    parity(one.ours(), theirs, one.inputs)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(t, before[name]) for name, t in theirs.state_dict().items())
    assert all(p.grad is None for p in theirs.parameters()) and not any("forward" in vars(m) for m in theirs.modules())


def test_a_float32_inside_a_float64_model_is_computed_in_float64():
    x = torch.randn(4, 8, dtype=torch.float64)
    with reference.Exactly64():
        assert (
            x.float().dtype
            == x.to(torch.float32).dtype
            == torch.softmax(x, -1, dtype=torch.float32).dtype
            == torch.float64
        )
    assert x.float().dtype == torch.float32


def test_command(pair, capsys):
    one = pair("gpt2", "LMHeadModel")
    assert main(["parity", str(one.directory)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"GPT2LMHeadModel +float64 .* equal  equal\n", out) and out.endswith("  equal\n")
    assert main(["parity", "vgg", "--set", "hidden_sizes=[3]", "--set", "depths=[1]", "--dtype", "float32"]) == 0
    assert re.search("VGGForImageClassification +float32", capsys.readouterr().out)
    assert main(["parity", "vgg", "--set", "hiden_sizes=[3]"]) == 2
    assert "VGGConfig has no entry 'hiden_sizes': it has num_labels" in capsys.readouterr().err


def test_a_directory_of_a_family_nobody_has(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    assert main(["parity", str(tmp_path)]) == 2
    assert (
        "holds a model of type 'mamba': expected one that transformers and minigrad have, one of"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            "num_attention_heads=5",
            "transformers cannot make a BertModel from .* not a multiple of the number of attention heads",
        ),
        ("hidden_size=big", "transformers cannot make a BertModel from .* expected int, got str"),
    ],
)
def test_a_size_that_cannot_be(capsys, entry, told):
    assert main(["parity", "bert", "--set", entry]) == 2
    assert re.search(told, capsys.readouterr().err)


def test_a_reference_that_stops():
    with pytest.raises(ValueError, match="the reference fails on these inputs with RuntimeError: mat1 and mat2 shapes"):
        parity(nn.Linear(2, 2, rng=0), torch.nn.Linear(3, 2), (np.ones((1, 2)),))


def test_another_kind_of_reference():
    with pytest.raises(TypeError, match="the reference is a int: give a torch.nn.Module or a minigrad Module"):
        parity(nn.Linear(2, 2, rng=0), 3, (np.ones((1, 2)),))


def test_the_documentation_runs():
    for code in re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.S | re.M):
        exec(compile(code, str(DOCUMENT), "exec"), {})
