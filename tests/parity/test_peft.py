"""Adapters against the reference library `peft`: files both ways, outputs with and without merging, and gradients."""

import copy
import functools
import tempfile

import numpy as np
import pytest

torch, transformers, peft = (pytest.importorskip(name) for name in ("torch", "transformers", "peft"))

from compare import scramble  # noqa: E402

from minigrad import pretrained  # noqa: E402
from minigrad.finetune import LoraConfig, PeftModel, get_peft_model  # noqa: E402

BOUND = 2e-5
rng = np.random.default_rng(0)
IDS = rng.integers(3, 60, (3, 8))
MASK = (np.arange(8) < np.array([[8], [5], [7]])).astype(np.int64)
TEXT = {"input_ids": IDS, "attention_mask": MASK}
BERT = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "num_labels": 3,
}
FAMILIES = {
    "bert": ("BertForSequenceClassification", "BertConfig", BERT, TEXT),
    "roberta": ("RobertaForSequenceClassification", "RobertaConfig", BERT, TEXT),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"vocab_size": 60, "n_embd": 16, "n_layer": 2, "n_head": 2}, TEXT),
    "llama": ("LlamaForCausalLM", "LlamaConfig", BERT | {"num_key_value_heads": 1}, TEXT),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
        TEXT | {"decoder_input_ids": IDS[:, :5]},
    ),
    "vit": (
        "ViTForImageClassification",
        "ViTConfig",
        BERT | {"image_size": 8, "patch_size": 4},
        {"pixel_values": rng.standard_normal((2, 3, 8, 8)).astype("f4")},
    ),
}
LAYERS = {"bert": "query", "roberta": "query", "gpt2": "c_attn", "llama": "q_proj", "t5": "q", "vit": "q_proj"}
LORA = {
    "default": {},
    "all": {"target_modules": "all-linear", "r": 3, "lora_alpha": 5, "use_rslora": True, "task_type": "HEAD"},
    "dora": {"use_dora": True, "target_modules": "all-linear", "task_type": "HEAD"},
    "bias": {"bias": "all", "lora_dropout": 0.2},
    "lora_only": {"bias": "lora_only", "init_lora_weights": "gaussian"},
    "patterns": {"rank_pattern": {"NAME": 3}, "alpha_pattern": {"1.*NAME": 7}, "layers_to_transform": [1]},
    "expression": {"target_modules": r".*\.1\..*NAME", "init_lora_weights": False},
}


@functools.cache
def made(family):
    """A random model of the reference library, and a directory with it."""
    kind, config, sizes, _ = FAMILIES[family]
    torch.manual_seed(0)
    model = scramble(getattr(transformers, kind)(getattr(transformers, config)(**sizes)).eval())
    directory = tempfile.TemporaryDirectory()
    model.save_pretrained(directory.name)
    return model, directory


def reference(family):
    return copy.deepcopy(made(family)[0]), {name: torch.tensor(x) for name, x in FAMILIES[family][3].items()}


def theirs(model, batch):
    with torch.no_grad():
        return model.eval()(**batch).logits.numpy()


def ours(model, family):
    return model(**FAMILIES[family][3]).logits.numpy()


def base(family):
    return getattr(pretrained, FAMILIES[family][0]).from_pretrained(made(family)[1].name)


def options_of(family, options):
    """The options with the names that the family has."""
    name, head = (
        LAYERS[family],
        {"t5": "SEQ_2_SEQ_LM", "gpt2": "CAUSAL_LM", "llama": "CAUSAL_LM"}.get(family, "SEQ_CLS"),
    )
    text = {"NAME": name, "HEAD": head}
    for old, new in text.items():
        options = {
            key.replace(old, new): options_of(family, value)
            if isinstance(value, dict)
            else value.replace(old, new)
            if isinstance(value, str)
            else value
            for key, value in options.items()
        }
    return options


def randomised(model, scale=0.3):
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        if p.requires_grad:
            p.data += scale * torch.randn(p.shape, generator=generator)
    return model


def same_both_ways(family, config, tmp_path, merges=True, tied=False):
    """An adapter of the reference's is read and computes the same, merged too; written here, it is the same there."""
    model, batch = reference(family)
    plain = theirs(model, batch)
    model = randomised(peft.get_peft_model(model, config), 0.1 if family == "t5" else 0.3)  # T5 multiplies noise
    model.save_pretrained(tmp_path / "theirs")
    wanted = theirs(model, batch)
    assert np.abs(wanted - plain).max() > 1e-4
    here = PeftModel.from_pretrained(base(family), tmp_path / "theirs")
    found = ours(here, family)
    np.testing.assert_allclose(found, wanted, atol=BOUND)
    with here.disable_adapter():
        np.testing.assert_allclose(ours(here, family), plain, atol=BOUND)
    here.save_pretrained(tmp_path / "ours")
    there = type(model).from_pretrained(reference(family)[0], tmp_path / "ours")
    np.testing.assert_array_equal(theirs(there, batch), wanted)
    if merges:
        if not tied:  # else `peft` changes both of the weights that are one, and its merged model is another
            wanted = theirs(model.merge_and_unload(), batch)
        merged = here.merge_and_unload()
        np.testing.assert_allclose(ours(merged, family), wanted, atol=BOUND)
        merged.save_pretrained(tmp_path / "merged")
        again = type(merged).from_pretrained(tmp_path / "merged")
        np.testing.assert_array_equal(ours(again, family), ours(merged, family))
    return np.abs(found - wanted).max()


@pytest.mark.parametrize("case", LORA)
@pytest.mark.parametrize("family", FAMILIES)
def test_lora(family, case, tmp_path):
    options = options_of(family, LORA[case])
    if family == "vit" and "target_modules" not in options:
        options["target_modules"] = ["q_proj", "v_proj"]
    same_both_ways(family, peft.LoraConfig(**options), tmp_path)


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize(("family", "name"), [("bert", "word_embeddings"), ("gpt2", "wte"), ("llama", "embed_tokens")])
def test_lora_of_embeddings(family, name, use_dora, tmp_path):
    same_both_ways(
        family, peft.LoraConfig(r=2, target_modules=[name], use_dora=use_dora), tmp_path, tied=family == "gpt2"
    )


@pytest.mark.parametrize("use_dora", [False, True])
def test_lora_of_a_convolution(use_dora, tmp_path):
    same_both_ways("vit", peft.LoraConfig(r=2, target_modules=["projection"], use_dora=use_dora), tmp_path)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("bert", {}),
        ("roberta", {}),
        ("gpt2", {}),
        ("llama", {}),
        ("t5", {}),
        ("bert", {"task_type": "SEQ_CLS"}),
        ("gpt2", {"target_modules": ["c_attn", "c_fc"], "feedforward_modules": ["c_fc"]}),
        ("bert", {"target_modules": ["key", "dense"]}),
        ("t5", {"target_modules": ["k", "wo"]}),
        ("vit", {"target_modules": ["k_proj", "projection", "fc2"], "feedforward_modules": ["fc2"]}),
        ("vit", {"target_modules": ["projection"], "feedforward_modules": ["projection"]}),
        ("t5", {"target_modules": r".*\.(k|wo)", "feedforward_modules": r".*\.wo"}),
    ],
)
def test_ia3(family, options, tmp_path):
    same_both_ways(family, peft.IA3Config(**options), tmp_path)


@pytest.mark.parametrize(
    ("family", "modules"), [("bert", ["pooler", "classifier"]), ("gpt2", ["c_fc", "ln_f"]), ("t5", ["lm_head"])]
)
def test_modules_to_save(family, modules, tmp_path):
    config = peft.LoraConfig(r=2, target_modules=[LAYERS[family]], modules_to_save=modules)
    same_both_ways(family, config, tmp_path)


def test_a_file_written_with_torch_save(tmp_path):
    model, batch = reference("bert")
    model = randomised(peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS")))
    model.save_pretrained(tmp_path / "theirs", safe_serialization=False)
    assert not list((tmp_path / "theirs").glob("*.safetensors"))
    here = PeftModel.from_pretrained(base("bert"), tmp_path / "theirs")
    np.testing.assert_allclose(ours(here, "bert"), theirs(model, batch), atol=BOUND)


def test_adapters_switched_and_added_with_weights(tmp_path):
    model, batch = reference("bert")
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query", "value"]))
    model.add_adapter("other", peft.LoraConfig(r=2, lora_alpha=4, target_modules=["query", "dense"]))
    for name in ("default", "other"):
        model.set_adapter(name)
        randomised(model)
    model.save_pretrained(tmp_path / "theirs")
    here = PeftModel.from_pretrained(base("bert"), tmp_path / "theirs")
    here.load_adapter(tmp_path / "theirs" / "other", "other")
    for kind in ("svd", "cat", "linear"):
        for one in (model, here):
            one.add_weighted_adapter(["default", "other"], [0.7, -0.4], kind, kind)
    for name in ("other", "svd", "cat", "linear", "default"):
        model.set_adapter(name)
        here.set_adapter(name)
        np.testing.assert_allclose(ours(here, "bert"), theirs(model, batch), atol=BOUND, err_msg=name)
    model.base_model.set_adapter(["default", "other"])
    here.set_adapter(["default", "other"])
    np.testing.assert_allclose(ours(here, "bert"), theirs(model, batch), atol=BOUND)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"bias": "all"}])
def test_gradients(options, tmp_path):
    model, batch = reference("bert")
    config = {"task_type": "SEQ_CLS", "target_modules": ["query", "dense"], **options}
    model = randomised(peft.get_peft_model(model, peft.LoraConfig(**config)))
    model.save_pretrained(tmp_path / "theirs")
    here = PeftModel.from_pretrained(base("bert"), tmp_path / "theirs", is_trainable=True)
    labels = np.array([0, 2, 1])
    model(**batch, labels=torch.tensor(labels)).loss.backward()
    here(**TEXT, labels=labels).loss.backward()
    own = {name: p.grad.numpy() for name, p in here.named_parameters() if p.requires_grad}
    wanted = {
        name.removeprefix("base_model.model.")
        .replace(".base_layer", "")
        .replace(".modules_to_save.default", "")
        .replace("magnitude_vector.default.weight", "magnitude_vector.default"): p.grad.numpy()
        for name, p in model.named_parameters()
        if p.requires_grad and p.grad is not None
    }
    assert own.keys() == wanted.keys()
    for name, gradient in wanted.items():
        np.testing.assert_allclose(own[name], gradient, atol=1e-5, err_msg=name)


def test_trained_here_it_is_loaded_there(tmp_path):
    from minigrad import optim

    model, batch = reference("vit")
    here = get_peft_model(base("vit"), LoraConfig(r=2, task_type="SEQ_CLS"), rng=0)
    optimizer = optim.AdamW(here.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        here(**FAMILIES["vit"][3], labels=np.array([1, 2])).loss.backward()
        optimizer.step()
    here.save_pretrained(tmp_path / "ours")
    there = peft.PeftModel.from_pretrained(model, tmp_path / "ours")
    np.testing.assert_allclose(theirs(there, batch), ours(here, "vit"), atol=BOUND)


@pytest.mark.parametrize(
    ("family", "method", "task"),
    [
        ("bert", "prompt", "SEQ_CLS"),
        ("roberta", "prompt", "SEQ_CLS"),
        ("gpt2", "prompt", "CAUSAL_LM"),
        ("llama", "prompt", "CAUSAL_LM"),
        ("t5", "prompt", "SEQ_2_SEQ_LM"),
        ("gpt2", "prefix", "CAUSAL_LM"),
        ("llama", "prefix", "CAUSAL_LM"),
        ("t5", "prefix", "SEQ_2_SEQ_LM"),
    ],
)
def test_prompts_and_prefixes(family, method, task, tmp_path):
    config = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[method]
    model, batch = reference(family)
    plain = theirs(model, batch)
    model = randomised(peft.get_peft_model(model, config(task_type=task, num_virtual_tokens=3)), 1.0)
    model.save_pretrained(tmp_path / "theirs")
    tokens = slice(3 if method == "prompt" and task == "CAUSAL_LM" else 0, None)  # ours are of the tokens given
    wanted = theirs(model, batch)[:, tokens] if task == "CAUSAL_LM" else theirs(model, batch)
    here = PeftModel.from_pretrained(base(family), tmp_path / "theirs")
    found, seen = ours(here, family), MASK == 1 if task == "CAUSAL_LM" else slice(None)
    np.testing.assert_allclose(found[seen], wanted[seen], atol=BOUND)
    assert not np.allclose(found[seen], plain[seen], atol=1e-3)
    here.save_pretrained(tmp_path / "ours")
    there = type(model).from_pretrained(reference(family)[0], tmp_path / "ours")
    again = theirs(there, batch)
    np.testing.assert_allclose((again[:, tokens] if task == "CAUSAL_LM" else again)[seen], wanted[seen], atol=1e-6)


@pytest.mark.parametrize(("family", "model_class"), [("bert", "BertModel"), ("roberta", "RobertaModel")])
def test_a_prefix_of_an_encoder(family, model_class, tmp_path):
    """`peft` gives a prefix to an encoder without a head alone; here it stands within a model with one."""
    full, batch = reference(family)
    encoder = getattr(full, family)
    assert type(encoder).__name__ == model_class
    config = peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    model = randomised(peft.get_peft_model(encoder, config), 1.0)
    model.save_pretrained(tmp_path / "theirs")

    def vectors(model):
        with torch.no_grad():
            return model.eval()(**batch).last_hidden_state.numpy()[MASK == 1]

    wanted = vectors(model)
    here = PeftModel.from_pretrained(base(family), tmp_path / "theirs")
    found = getattr(here, family)(**TEXT).last_hidden_state.numpy()[MASK == 1]
    np.testing.assert_allclose(found, wanted, atol=BOUND)
    here.save_pretrained(tmp_path / "ours")
    there = peft.PeftModel.from_pretrained(getattr(reference(family)[0], family), tmp_path / "ours")
    np.testing.assert_allclose(vectors(there), wanted, atol=1e-6)


def test_a_prefix_made_by_a_projection_is_used(tmp_path):
    model, batch = reference("gpt2")
    config = {"num_virtual_tokens": 3, "prefix_projection": True, "encoder_hidden_size": 8}
    model = randomised(peft.get_peft_model(model, peft.PrefixTuningConfig(task_type="CAUSAL_LM", **config)), 1.0)
    model.save_pretrained(tmp_path)
    here = PeftModel.from_pretrained(base("gpt2"), tmp_path)
    seen = MASK == 1
    np.testing.assert_allclose(ours(here, "gpt2")[seen], theirs(model, batch)[seen], atol=BOUND)
