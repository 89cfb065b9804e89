"""One call from a model directory and a file of texts to a classifier, the same on every run."""

import json
import re
import signal
import sys

import numpy as np
import pytest
import tiny_bert
import tiny_tokenizers

from minigrad import nn
from minigrad.cli import main
from minigrad.data import Example, TextDataset
from minigrad.pretrained import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, GPT2Config, RobertaConfig
from minigrad.tasks.text_classification import check_classes
from minigrad.train import TextClassifier, Trainer, TrainingArguments, finetune

pytest.importorskip("tokenizers")
QUICK = {"num_train_epochs": 2, "learning_rate": 1e-2, "per_device_train_batch_size": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert.save_model(tmp_path_factory.mktemp("base"))


def test_a_file_becomes_a_classifier_that_tells_its_labels(base, tmp_path, capsys):
    train = tiny_bert.save_csv(tmp_path / "train.csv", tiny_bert.examples(48))
    trainer = finetune(base, train, output=tmp_path / "out", **QUICK | {"num_train_epochs": 16})
    told = capsys.readouterr().out
    assert trainer.best["eval_accuracy"] > 0.6  # by chance: a third
    assert "newly initialised     2  classifier.weight, classifier.bias" in told
    assert (
        "cooking       13        3\n" in told and "all           39        9\nsuch as cooking: the oven flour\n" in told
    )
    assert told.count("  saved\n") == sum(record.get("best", False) for record in trainer.history)
    assert f"minigrad predict {tmp_path / 'out'} " in told
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "cooking", "1": "music", "2": "sailing"} and config["text_max_length"] == 128
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"config.json", "model.safetensors", "vocab.txt", "metrics.jsonl", "evaluation.txt"}
    report = (tmp_path / "out" / "evaluation.txt").read_text()
    assert report in told and "macro average" in report and "true \\ predicted" in report


def test_pictures_are_drawn_if_matplotlib_is_there(base, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    finetune(base, tiny_bert.examples(), output=tmp_path / "with", **QUICK)
    for name in ("training_curves.png", "confusion_matrix.png"):
        assert (tmp_path / "with" / name).read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    finetune(base, tiny_bert.examples(), output=tmp_path / "without", **QUICK)
    told = capsys.readouterr().out
    assert "No pictures were drawn: pictures need matplotlib" in told and "minigrad-learn[viz]" in told
    assert not list((tmp_path / "without").glob("*.png")) and (tmp_path / "without" / "model.safetensors").exists()


def test_nothing_is_written_through_links_in_the_output_directory(base, tmp_path):
    finetune(base, tiny_bert.examples(), output=tmp_path / "out", **QUICK)
    names = [path.name for path in (tmp_path / "out").iterdir()]
    (tmp_path / "mine").write_text("mine")
    for name in names:
        if name != "config.json":
            (tmp_path / "out" / name).unlink()
            (tmp_path / "out" / name).symlink_to(tmp_path / "mine")
    finetune(base, tiny_bert.examples(), output=tmp_path / "out", overwrite=True, **QUICK)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not [name for name in names if (tmp_path / "out" / name).is_symlink()]


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_other_families(tmp_path, kind):
    """RoBERTa has two positions that no token stands at; GPT-2 has no token to pad with."""
    base, longest = tiny_tokenizers.byte_pairs(tmp_path, kind), {"roberta": 18, "gpt2": 20}[kind]
    size = {"vocab_size": AutoTokenizer.from_pretrained(base).vocab_size}
    if kind == "gpt2":
        config = GPT2Config(**size, n_embd=8, n_layer=1, n_head=2, n_positions=20, bos_token_id=0, eos_token_id=0)
    else:
        config = RobertaConfig(
            **size,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            max_position_embeddings=20,
            type_vocab_size=1,
        )
    AutoModel.from_config(config, rng=0).save_pretrained(base)
    with pytest.raises(ValueError, match=f"max_length is {longest + 1}; this model reads at most {longest} tokens"):
        finetune(base, tiny_bert.examples(), output=tmp_path / "out", max_length=longest + 1, **QUICK)
    finetune(base, tiny_bert.examples(), output=tmp_path / "out", max_length=longest, **QUICK)
    classifier = TextClassifier.from_pretrained(tmp_path / "out")
    del classifier.model.config.rest["text_max_length"]  # then texts are cut where the model ends
    long, short = classifier(["the " * 50, "salt"])
    assert long != short and [long] == classifier("the " * 50)


def test_a_padding_token_that_is_not_the_configurations(tmp_path):
    """The configuration says 3, the tokenizer has none, and so pads with its end: from then on both say that."""
    base = tiny_tokenizers.byte_pairs(tmp_path, "gpt2")
    config = GPT2Config(
        vocab_size=AutoTokenizer.from_pretrained(base).vocab_size,
        n_embd=8,
        n_layer=1,
        n_head=2,
        n_positions=20,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=3,
    )
    AutoModel.from_config(config, rng=0).save_pretrained(base)
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "out", max_length=20, **QUICK)
    assert trainer.model.config.pad_token_id == trainer.tokenizer.pad_token_id == 0
    alone = np.concatenate(
        [trainer.predict([trainer.eval_dataset[i]]).predictions for i in range(len(trainer.eval_dataset))]
    )
    np.testing.assert_allclose(trainer.predict(trainer.eval_dataset).predictions, alone, atol=1e-5)
    assert len({len(ids) for ids in trainer.eval_dataset.columns["input_ids"]}) > 1


def test_the_same_seed_gives_the_same_files(base, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        finetune(base, tiny_bert.examples(), output=tmp_path / name, seed=seed, **QUICK)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_an_evaluation_file_decides_what_is_held_out(base, tmp_path):
    examples = tiny_bert.examples()
    path = tiny_bert.save_csv(tmp_path / "eval.csv", examples[:7])
    trainer = finetune(base, examples[7:], path, output=tmp_path / "out", **QUICK)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (41, 7)
    trainer = finetune(base, examples, eval_fraction=0.5, output=tmp_path / "half", **QUICK)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (24, 24)


def test_freezing_and_cutting(base, tmp_path):
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "out", freeze=["bert.**"], max_length=4, **QUICK)
    original = AutoModelForSequenceClassification.from_pretrained(base).state_dict()
    for name, array in trainer.model.state_dict().items():
        if name.startswith("bert."):
            np.testing.assert_array_equal(array.numpy(), original[name].numpy())
    assert max(trainer.train_dataset.lengths) == 4


def test_a_fine_tuned_model_goes_on_to_other_labels_when_told_to(base, tmp_path):
    finetune(base, tiny_bert.examples(), output=tmp_path / "three", **QUICK)
    two = [example for example in tiny_bert.examples() if example.label != "music"]
    with pytest.raises(
        ValueError, match="is .3, 16. in the file, .2, 16. in the model.*pass ignore_mismatched_sizes=True"
    ):
        finetune(tmp_path / "three", two, output=tmp_path / "two", **QUICK)
    finetune(tmp_path / "three", two, output=tmp_path / "two", ignore_mismatched_sizes=True, **QUICK)
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "two").config.id2label == {
        0: "cooking",
        1: "sailing",
    }


def test_the_output_directory_is_a_model_to_go_on_from(base, tmp_path):
    """A new run starts from the best epoch's weights, head included: with a rate of 0 they are what they were."""
    first = finetune(base, tiny_bert.examples(), output=tmp_path / "first", **QUICK)
    more = finetune(tmp_path / "first", tiny_bert.examples(), output=tmp_path / "more", **QUICK | {"learning_rate": 0})
    for name, array in first.model.state_dict().items():
        np.testing.assert_array_equal(more.model.state_dict()[name].numpy(), array.numpy(), err_msg=name)
    assert more.best["eval_accuracy"] == first.best["eval_accuracy"]


def test_transformers_reads_the_result(base, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "out", **QUICK)
    batch = AutoTokenizer.from_pretrained(tmp_path / "out")(["the old violin", "salt"])
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    logits = theirs(**{name: torch.tensor(array) for name, array in batch.items()}).logits.detach().numpy()
    np.testing.assert_allclose(trainer.model(**batch).logits.numpy(), logits, atol=1e-5)
    assert theirs.config.id2label == {0: "cooking", 1: "music", 2: "sailing"}


def test_pairs_of_text_and_label(base, tmp_path):
    """Tuples and lists, with names or numbers for classes, and any iterable of them."""
    pairs = [tuple(example) for example in tiny_bert.examples()]
    numbers = [[text, sorted(tiny_bert.WORDS).index(label)] for text, label in pairs]
    named = finetune(base, pairs, output=tmp_path / "named", **QUICK)
    numbered = finetune(base, iter(numbers), output=tmp_path / "numbered", **QUICK)
    assert named.model.config.id2label == {0: "cooking", 1: "music", 2: "sailing"}
    assert numbered.model.config.id2label == {0: "0", 1: "1", 2: "2"}
    np.testing.assert_array_equal(*(t.model.state_dict()["classifier.weight"].numpy() for t in (named, numbered)))


def test_callbacks_see_every_record(base, tmp_path):
    seen = []
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "out", callbacks=[seen.append], **QUICK)
    assert seen == trainer.history and len(seen) > 2


@pytest.mark.parametrize(
    "given, told",
    [
        ("lr", "finetune has no argument 'lr': type learning_rate="),
        ("epochs", "type num_train_epochs="),
        ("batch_size", "type per_device_train_batch_size="),
        ("output_dir", "type output="),
        ("eval_fracton", "type eval_fraction="),
        ("learningrate", "type learning_rate="),
        ("overwrite_output_dir", "type overwrite="),
        ("xyz", "it has model_dir, train, eval"),
    ],
)
def test_unknown_arguments_answer_with_the_name_to_type(base, tmp_path, given, told):
    with pytest.raises(TypeError, match=told):
        finetune(base, tiny_bert.examples(), output=tmp_path / "out", **{given: 1})
    assert not (tmp_path / "out").exists()


def warned(record):
    return [str(warning.message) for warning in record if warning.category is UserWarning]


def test_what_makes_scores_mean_less_is_said(base, tmp_path, recwarn):
    examples = tiny_bert.examples()
    finetune(base, examples[7:], examples[:7], output=tmp_path / "fine", **QUICK)
    assert not warned(recwarn)
    eval = [Example(examples[0].text.upper(), "cooking"), *examples[3:5], Example("new words", "music")]
    finetune(base, examples, eval, output=tmp_path / "less", **QUICK)
    assert warned(recwarn) == [
        "3 of 4 evaluation texts are also training texts: the scores on them say nothing about new texts",
        "there is no evaluation example of sailing: such a class counts 0 in the macro-F1",
    ]


def test_labels_that_differ_only_by_case_are_said(base, tmp_path):
    examples = [
        Example(text, label.upper() if i % 2 else label) for i, (text, label) in enumerate(tiny_bert.examples())
    ]
    with pytest.warns(UserWarning, match="the labels 'COOKING' and 'cooking' differ only by case") as told:
        trainer = finetune(base, examples, output=tmp_path / "out", **QUICK)
    assert {warning.filename for warning in told} == {__file__}  # the line of the user's program
    assert len(trainer.model.config.id2label) == 6


@pytest.mark.parametrize(
    "labels",
    [
        range(3000),
        np.linspace(0, 1, 3000).tolist(),
        [i % 700 * 13 for i in range(3000)],
        [f"{i % 30 / 10}" for i in range(3000)],
        [-i % 41 - 20 for i in range(3000)],
    ],
    ids=repr,
)
def test_many_numbers_are_asked_about(base, tmp_path, labels):
    pairs = [(f"text {i}", str(label)) for i, label in enumerate(labels)]
    with pytest.raises(
        ValueError, match=r"3000 training texts are \d+ different numbers, from .*for a regression pass"
    ):
        finetune(base, pairs, output=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "labels",
    [
        range(1, 6),
        range(150),
        [0.5 * i for i in range(10)],
        [1990 + i for i in range(10)],
        [f"c{i}" for i in range(40)],
        ["nan", "inf", *range(30)],
    ],
    ids=repr,
)
def test_numbers_may_be_classes(labels):
    check_classes([Example(f"text {i}", str(label)) for i, label in enumerate([*labels] * 3)])


@pytest.mark.parametrize(
    "item, told",
    [
        ("text", "example 2 is 'text'; expected a pair"),
        (("text",), "expected a pair"),
        (("text", "a", 1), "expected a pair"),
        ((1, "text"), "example 2 is .*; expected a pair"),
        ({"text": "a", "label": "b"}, "expected a pair"),
        (("text", None), "example 2: the label is missing"),
        (("text", 0.5), "example 2: the label is 0.5; .*for a regression pass"),
        (("text", ["a"]), r"example 2: the label is \[\"a\"\]; expected a string or an integer"),
        (("a \ud800", "x"), "example 2: '.ud800' at character 3 is not UTF-8"),
    ],
)
def test_what_is_no_pair_is_named(base, tmp_path, item, told):
    with pytest.raises(ValueError, match=told):
        finetune(base, [("text", "a"), item], output=tmp_path / "out")


@pytest.mark.parametrize(
    "train, eval, told",
    [
        ([], None, "the list of examples is empty"),
        (
            [Example("a b", "x"), Example("c d", "x"), Example("e f", "x")],
            None,
            "training texts have the label 'x': expected two",
        ),
        (tiny_bert.examples(), [Example("soup", "gardening")], "label 'gardening' .*not among the 3 training labels"),
    ],
)
def test_examples_that_cannot_be_learnt_from(base, tmp_path, train, eval, told):
    with pytest.raises(ValueError, match=told):
        finetune(base, train, eval, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_classifier_trained_again_keeps_the_order_of_its_labels(base, tmp_path, capsys):
    first = finetune(base, tiny_bert.examples(48), output=tmp_path / "first", **QUICK | {"num_train_epochs": 16}).model
    order = [2, 0, 1]  # not the alphabet's
    names = [first.config.id2label[i] for i in order]
    for p in (first.classifier.weight, first.classifier.bias):
        p.copy_(p.numpy()[order])
    first.config.id2label = names
    first.save_pretrained(tmp_path / "first")
    before = TextClassifier.from_pretrained(tmp_path / "first")([e.text for e in tiny_bert.examples(48)])
    right = np.mean([next(iter(s)) == e.label for s, e in zip(before, tiny_bert.examples(48), strict=True)])
    capsys.readouterr()
    again = finetune(
        tmp_path / "first",
        tiny_bert.examples(48),
        output=tmp_path / "again",
        **QUICK | {"num_train_epochs": 1, "learning_rate": 1e-9},
    )
    assert list(again.model.config.id2label.values()) == names and "newly initialised" not in capsys.readouterr().out
    assert again.best["train_accuracy"] == pytest.approx(right, abs=0.15) and right > 0.6


def test_a_head_for_other_labels_begins_anew_and_says_so(base, tmp_path, capsys):
    finetune(base, tiny_bert.examples(12), output=tmp_path / "first", **QUICK)
    capsys.readouterr()
    others = [Example(e.text, f"the {e.label}") for e in tiny_bert.examples(12)]
    model = finetune(
        tmp_path / "first",
        others,
        output=tmp_path / "again",
        freeze="bert.**",
        **QUICK | {"num_train_epochs": 1, "learning_rate": 0.0},
    ).model
    told = capsys.readouterr().out
    assert (
        "trained for cooking, music, sailing, not for the cooking, the music, the sailing: classifier.weight and"
        in told
    )
    assert "newly initialised     2  classifier.weight, classifier.bias" in told
    trained = AutoModelForSequenceClassification.from_pretrained(tmp_path / "first")
    assert not np.allclose(model.classifier.weight.numpy(), trained.classifier.weight.numpy())
    np.testing.assert_array_equal(model.bert.pooler.dense.weight.numpy(), trained.bert.pooler.dense.weight.numpy())


def test_a_model_for_several_labels_is_trained_for_one_each(base, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=3, rng=0, problem_type="multi_label_classification"
    )
    model.save_pretrained(tmp_path / "multi")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "multi")
    trained = finetune(tmp_path / "multi", tiny_bert.examples(12), output=tmp_path / "out", **QUICK).model
    assert trained.config.problem_type == "single_label_classification"
    assert sum(TextClassifier.from_pretrained(tmp_path / "out")("oven")[0].values()) == pytest.approx(1)


def test_a_head_replaced_by_hand_is_trained_saved_and_loaded_or_refused_at_the_start(base, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(base)
    items = TextDataset(tokenizer([e.text for e in tiny_bert.examples(12)], padding=False), [i % 5 for i in range(12)])
    model = AutoModelForSequenceClassification.from_pretrained(base, rng=0)
    model.classifier = nn.Linear(16, 5, rng=0)
    args = TrainingArguments(tmp_path / "out", num_train_epochs=1)
    trainer = Trainer(model, args, items, items, tokenizer=tokenizer)
    trainer.train()
    trainer.save_model()
    assert len(TextClassifier.from_pretrained(tmp_path / "out")("oven")[0]) == 5
    model.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(16, 5, rng=0))
    with pytest.raises(ValueError, match="could not be loaded again: classifier.1.weight has no place in it"):
        Trainer(model, TrainingArguments(tmp_path / "other"), items, items, tokenizer=tokenizer)


def test_predict_tells_the_value_of_a_regression(base, tmp_path, capsys):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, rng=0)
    model.save_pretrained(tmp_path / "value")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "value")
    (value,) = TextClassifier.from_pretrained(tmp_path / "value")("oven")[0].values()
    assert main(["predict", str(tmp_path / "value"), "oven"]) == 0
    assert f"{value:.6g}  LABEL_0" in capsys.readouterr().out


def test_an_epoch_whose_loss_is_not_finite_is_never_kept(base, tmp_path, monkeypatch):
    told = iter([(1.0, 0.5), (np.nan, 0.9), (np.nan, 0.9)])
    measured = Trainer.measured

    def spoiled(trainer, *given):
        return {**measured(trainer, *given), **dict(zip(("eval_loss", "eval_macro_f1"), next(told)))}

    monkeypatch.setattr(Trainer, "measured", spoiled)
    assert finetune(base, tiny_bert.examples(), output=tmp_path / "kept", **QUICK).best["epoch"] == 1
    with pytest.raises(
        ValueError, match="loss of epoch 1 is nan, so no model was saved: lower the learning_rate, which is 0.01"
    ):
        finetune(base, tiny_bert.examples(), output=tmp_path / "none", **QUICK)
    assert not (tmp_path / "none" / "model.safetensors").exists()


def test_what_is_chosen_otherwise_than_by_hugging_face_is_printed(base, tmp_path, capsys):
    args = finetune(base, tiny_bert.examples(), output=tmp_path / "out", **QUICK).args
    told = capsys.readouterr().out
    assert "Defaults that differ from Hugging Face's: per_device_eval_batch_size=64, weight_decay=0.01" in told
    assert "learning_rate=" not in told and args.learning_rate == 1e-2 and args.seed == 0 and args.max_grad_norm == 1.0
    with pytest.raises(ValueError, match="metric_for_best_model is 'bleu'; expected one of accuracy, macro_f1, loss"):
        finetune(base, tiny_bert.examples(), output=tmp_path / "new", metric_for_best_model="bleu")


def test_an_interrupted_run_goes_on(base, tmp_path):
    """To the same files, whenever it was interrupted."""
    whole = finetune(base, tiny_bert.examples(), output=tmp_path / "whole", **QUICK)

    def stop(record):
        if record["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(
        KeyboardInterrupt, match=r"step 3 of 10; no epoch .*; saved in .*checkpoint-3: to resume, type finetune"
    ):
        finetune(base, tiny_bert.examples(), output=tmp_path / "parts", callbacks=[stop], **QUICK)
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "parts", resume_from_checkpoint=True, **QUICK)
    assert trainer.best["step"] == whole.best["step"]
    assert (tmp_path / "parts" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("lora", [-1, "8", 2.5, True])
def test_a_rank_that_is_none_is_refused(lora, base, tmp_path):
    with pytest.raises(ValueError, match=f"lora is {lora!r}; expected the rank of the adapters, such as 8, or 0"):
        finetune(base, tiny_bert.examples(), output=tmp_path / "out", lora=lora)


def test_adapters_instead_of_the_model(base, tmp_path, capsys):
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "out", lora=2, **QUICK | {"num_train_epochs": 12})
    told, names = capsys.readouterr().out, {path.name for path in (tmp_path / "out").iterdir()}
    assert re.search(r"all-linear +7 .*bert.encoder.layer.0.attention.self.query", told) and "to train" in told
    trained = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or name.startswith(("classifier.", "bert.pooler.")) for name in trained)
    assert {"adapter_model.safetensors", "adapter_config.json", "model.safetensors", "config.json"} <= names
    assert trainer.best["eval_accuracy"] > 0.8
    classifier = TextClassifier.from_pretrained(tmp_path / "out")  # which needs to know of no adapter
    texts = [example.text for example in tiny_bert.examples(6)]
    trained_here = TextClassifier(trainer.model.eval(), classifier.tokenizer)
    for one, two in zip(classifier(texts), trained_here(texts)):
        assert list(one) == list(two)
        np.testing.assert_allclose(list(one.values()), list(two.values()), atol=1e-5)


def test_the_usual_rate_of_adapters_is_ten_times_that_of_the_model(base, tmp_path, capsys):
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "out", lora=2, num_train_epochs=1)
    assert trainer.args.learning_rate == 10 * 2e-4 and "learning_rate=0.002, " in capsys.readouterr().out


def test_find_lr_trains_with_the_rate_that_it_found(base, tmp_path):
    pytest.importorskip("matplotlib")
    found = finetune(base, tiny_bert.examples(), output=tmp_path / "out", find_lr=True, **QUICK)
    assert (tmp_path / "out" / "learning_rates.png").stat().st_size > 1000
    rate = {"learning_rate": found.args.learning_rate}
    again = finetune(base, tiny_bert.examples(), output=tmp_path / "again", **QUICK | rate)
    assert found.history[0]["loss"] == again.history[0]["loss"] and found.best["eval_loss"] == again.best["eval_loss"]
