"""Damaged and odd files of every task: one line that names the file and the place, and nothing is written."""

import json
import re
import shutil

import numpy as np
import pytest
import tiny_bert

from minigrad import pretrained
from minigrad.cli import main
from minigrad.pretrained import BertConfig, BertModel
from minigrad.tasks import TASKS, task_class
from minigrad.train import pipeline

pytest.importorskip("tokenizers")
ROW = {"question": "Who?", "context": "Ada came.", "answers": [{"text": "Ada", "answer_start": 0}]}
TEXT, TOKENS, QUESTIONS = "text-classification", "token-classification", "question-answering"
MULTI, VALUE = ["--problem-type", "multi_label_classification"], ["--problem-type", "regression"]
TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
SMALL = {name: TINY for name in ("Bert",)} | {"DistilBert": {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8}}
GOOD = "text,label\noven,a\nsalt,a\nmast,b\nwind,b\n"

CASES = [  # task, file, its content, what is typed besides, what is told
    (TEXT, "a.csv", "", [], "a.csv:1: the file holds no example; expected a text and a label on each line"),
    (TEXT, "a.csv", "text,label\n", [], "a.csv:1: the file holds no example"),
    (TEXT, "a.csv", "text,label\noven\n", [], "a.csv:2: expected 2 fields, as the first line has, got 1"),
    (TEXT, "a.csv", "text,label\noven,a,b\n", [], "a.csv:2: expected 2 fields, as the first line has, got 3"),
    (TEXT, "a.csv", 'text,label\n"oven,a\n', [], "a.csv:2: unexpected end of data"),
    (TEXT, "a.csv", "text;label\noven;a\nmast\n", [], "a.csv:3: expected 2 fields"),
    (TEXT, "a.csv", "text|label\noven|\n", [], "a.csv:2: the label is missing; give every text one"),
    (TEXT, "a.csv", "text,text,label\na,b,c\n", [], "a.csv:1: two columns are called 'text'"),
    (TEXT, "a.csv", "body,label\na,b\n", [], "a.csv:1: no text column 'text' or 'sentence'"),
    (TEXT, "a.csv", b"text,label\nM\xfcller,a\n", [], "a.csv:2: not UTF-8: byte 0xfc"),
    (TEXT, "a.csv", GOOD.encode("utf-16"), [], "a.csv:1: not UTF-8.*if it is utf-16"),
    (TEXT, "a.csv", "text,label\noven,a\nsalt,a\n", [], "a.csv: all 1 training texts have the label 'a': expected"),
    (TEXT, "a.csv", "text,label\noven,a\noven,b\n", [], "a.csv: none of 2 examples can be held out"),
    (TEXT, "a.tsv", "text\tlabel\noven\n", [], "a.tsv:2: expected 2 fields"),
    (TEXT, "a.jsonl", '{"text": "oven", "label": "a"}\n{"text": "oven"\n', [], "a.jsonl:2: not JSON"),
    (TEXT, "a.jsonl", '{"text": 3, "label": "a"}', [], "a.jsonl:1: the text is 3; expected a string"),
    (TEXT, "a.jsonl", '{"text": "oven", "label": true}', [], "a.jsonl:1: the label is true; expected a string"),
    (TEXT, "a.jsonl", '{"text": "oven", "label": ["a"]}', [], "several labels per text pass --problem-type"),
    (TEXT, "a.jsonl", '{"text": "oven", "label": 0.5}', [], "for a regression pass --problem-type"),
    (TEXT, "a.json", '[{"text": "oven", "label": "a"}, 3]', [], "a.json: object 2: expected an object"),
    (TEXT, "a.xlsx", "PK", [], "a.xlsx: cannot tell the format from the name"),
    (TEXT, "a.jsonl", '{"text": "oven", "label": 3}', MULTI, "a.jsonl:1: the labels are 3; expected a list"),
    (TEXT, "a.jsonl", '{"text": "oven", "label": [""]}', MULTI, "a.jsonl:1: the label is missing"),
    (TEXT, "a.jsonl", '{"text": "oven", "label": null}', MULTI, "a.jsonl:1: the labels are missing; give an"),
    (TEXT, "a.csv", "text,label\noven,1\nsalt,one\n", VALUE, 'a.csv:3: the label is "one"; expected a finite number'),
    (TEXT, "a.csv", "text,label\noven,inf\n", VALUE, 'a.csv:2: the label is "inf"; expected a finite number'),
    (TOKENS, "a.conll", "Ada B-PER\ncame\n", [], "a.conll:2: 'came' has no tag"),
    (TOKENS, "a.conll", "Ada PER\n", [], 'a.conll:1: the tag is "PER"; expected O, or B-'),
    (TOKENS, "a.conll", "Ada O\n\nEve O\n", [], "a.conll: none of the 1 training texts has an entity"),
    (TOKENS, "a.conll", b"M\xfcller B-PER\n", [], "a.conll:1: not UTF-8"),
    (TOKENS, "a.jsonl", '{"text": "Ada", "entities": [[0, 9, "PER"]]}', [], "a.jsonl:1: an entity is from 0 to 9 of a"),
    (
        TOKENS,
        "a.jsonl",
        '{"text": "Ada B.", "entities": [[0, 5, "PER"], [4, 6, "X"]]}',
        [],
        "a.jsonl:1: the entities PER and X overlap at character 4",
    ),
    (TOKENS, "a.jsonl", '{"words": ["Ada"], "tags": []}', [], "a.jsonl:1: there are 1 words and 0 tags"),
    (TOKENS, "a.csv", "word,tag\nAda,O\n", [], "a.csv: cannot tell the format from the name; end it in .conll"),
    (QUESTIONS, "a.json", '{"data": [{"paragraphs": [{"context": "Ada"}]}]}', [], "a.json: article 1, paragraph 1: "),
    (QUESTIONS, "a.json", '{"data": [', [], "a.json: not JSON"),
    (QUESTIONS, "a.jsonl", json.dumps(ROW | {"context": ""}), [], 'a.jsonl:1: the context is ""'),
    (
        QUESTIONS,
        "a.jsonl",
        json.dumps(ROW | {"context": "Eve came."}),
        [],
        "a.jsonl:1: the answer 'Ada' is not at character 0",
    ),
    (QUESTIONS, "a.jsonl", json.dumps(ROW | {"answers": "Ada"}), [], 'a.jsonl:1: the answers are "Ada"; expected'),
    (
        QUESTIONS,
        "a.jsonl",
        json.dumps(ROW | {"is_impossible": "false"}),
        [],
        'a.jsonl:1: is_impossible is "false"; exp',
    ),
    (QUESTIONS, "a.jsonl", json.dumps(ROW), [], "a.jsonl: none of 1 examples can be held out"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert.save_model(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    "task, name, content, typed, told", CASES, ids=[f"{t}-{n}-{w[:30]}" for t, n, _, _, w in CASES]
)
def test_damaged_and_odd_files(base, tmp_path, monkeypatch, capsys, task, name, content, typed, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["finetune", str(base), "--task", task, "--train", name, "--output", "out", *typed]) == 2
    out, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if not line.startswith("minigrad: warning: ")]
    assert len(lines) == 1 and lines[0].startswith("minigrad: error: ") and not out
    assert re.search(told, lines[0]), lines[0]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("task", TASKS)
def test_a_folder_without_anything_and_a_file_that_is_not_there(base, tmp_path, monkeypatch, capsys, task):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none.json"):
        assert main(["finetune", str(base), "--task", task, "--train", name, "--output", "out"]) == 2
        out, errors = capsys.readouterr()
        assert errors.count("\n") == 1 and errors.startswith("minigrad: error: ") and name in errors and not out
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_it_is(task):
    kind = task_class(task)
    assert kind().metrics and kind().columns["train_loss"] == "train loss" and kind.sample_input


@pytest.mark.parametrize(
    "task, option, wrong",
    [
        (QUESTIONS, "doc_stride", (-1, 2.5, True, "3")),
        (QUESTIONS, "max_answer_length", (0, None)),
        ("text2text-generation", "num_beams", (0, -2, "2")),
        ("text2text-generation", "max_target_length", (0, -1, 1.5)),
        ("fill-mask", "mlm_probability", (0, -0.1, 1.5, float("nan"))),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_read(task, option, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match=f"{option} is {value!r}; expected "):
            task_class(task)(**{option: value})


@pytest.mark.parametrize("task", ["fill-mask", "text-generation", QUESTIONS, TOKENS, TEXT])
def test_a_length_of_nothing_is_not_taken_for_the_default(base, tmp_path, task):
    """max_length=0 is refused by every task before it writes, and a default fits a model that reads fewer tokens."""
    kind = task_class(task)
    data = {TOKENS: [(["Ada"], ["B-PER"])], QUESTIONS: [ROW], TEXT: [("oven", "a")]}.get(task, ["the oven and soup"])
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 20}
    model, small, other = (BertModel(BertConfig(vocab_size=40, hidden_size=8, **sizes), rng=0) for _ in range(3))
    task = kind(max_length=0)
    task.attach(model, task.load_processor(base))
    with pytest.raises(ValueError, match="max_length=0|block_size is 0"):
        task.encode(task.read(data))
    usual = kind()
    usual.attach(small, task.processor)
    assert usual.max_length == 20
    for wrong in ("8", 8.5, True):
        with pytest.raises(ValueError, match=f"max_length is {wrong!r}; expected a whole number of tokens"):
            kind(max_length=wrong).attach(other, task.processor)
    with pytest.raises(ValueError, match="max_length is 21; this model reads at most 20 tokens"):
        kind(max_length=21).attach(other, task.processor)


@pytest.mark.parametrize("task", [TEXT, "text-generation", "fill-mask", "text2text-generation"])
def test_what_is_no_text_for_a_pipeline(task):
    """Neither the keys of a dict nor the numbers of bytes pass for texts; an array of texts is several."""
    examples = task_class(task)().examples
    assert len(examples("a")) == 1 and len(examples(np.array(["a", "b"]))) == len(examples(t for t in "ab")) == 2
    for wrong in (3, b"ab", {"text": "a"}):
        with pytest.raises(TypeError, match="the texts are .*; expected a text or a list of them"):
            examples(wrong)
    with pytest.raises(TypeError, match="text 2 is '3', a int; expected a str"):
        examples(["a", 3])
    for nothing in (None, [], ()):
        with pytest.raises(ValueError, match="there is no text; expected one or more"):
            examples(nothing)


@pytest.mark.parametrize("family", ["Bert", "DistilBert"])
def test_a_head_of_another_task_is_refused_though_its_weights_fit(base, tmp_path, family):
    sizes = {"vocab_size": 25, "pad_token_id": 0}
    config = getattr(pretrained, f"{family}Config")(num_labels=2, **sizes, **SMALL[family])
    for task, other, head in ((TEXT, TOKENS, "Sequence"), (TOKENS, TEXT, "Token")):
        model = getattr(pretrained, f"{family}For{head}Classification")(config, rng=0)
        shutil.copytree(base, tmp_path / head)
        model.save_pretrained(tmp_path / head)
        assert pipeline(task, tmp_path / head).task.name == pipeline(None, tmp_path / head).task.name == task
        with pytest.raises(ValueError, match=f"was trained for {task}, not for {other}|was not fine-tuned"):
            pipeline(other, tmp_path / head)


@pytest.mark.parametrize("task", [TEXT, "image-classification"])
def test_whole_numbers_of_numpy_are_labels(task):
    picture = np.zeros((4, 4, 3), np.uint8)
    data = [("a" if task == TEXT else picture, label) for label in (3, np.int64(3), np.uint8(3), "3")]
    assert [example.label for example in task_class(task)().read(data)] == ["3"] * 4
    for wrong in (True, np.bool_(True), 1.5, None, [1]):
        with pytest.raises(ValueError, match="example 1: the label is "):
            task_class(task)().read([(data[0][0], wrong)])


@pytest.mark.parametrize(
    "task, inputs, good, wrong",
    [
        (TEXT, "oven", {"top_k": 1}, {"function_to_apply": "none"}),
        (TOKENS, "oven", {"aggregation_strategy": "first", "ignore_labels": []}, {"agregation_strategy": "first"}),
        (QUESTIONS, ROW, {"top_k": 1, "max_answer_len": 3}, {"max_seq_len": 32}),
        ("fill-mask", "the [MASK]", {"top_k": 1}, {"targets": ["oven"]}),
    ],
)
def test_an_option_that_a_call_does_not_have_is_refused(base, task, inputs, good, wrong):
    kind = task_class(task)
    model = kind.model_class.from_pretrained(base, rng=0)
    pipe = pipeline(task, model, kind().load_processor(base))
    assert pipe(inputs, **good)
    (name,) = wrong
    with pytest.raises(TypeError, match=f"a call of {task} has no argument '{name}': (it has|type) "):
        pipe(inputs, **wrong)
