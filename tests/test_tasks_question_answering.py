"""Questions from a file to a model, its scores and its answers.  (The data are made by rules.)"""

import json
import random

import numpy as np
import pytest
import tiny_bert
import tiny_tokenizers

from minigrad.cli import main
from minigrad.data.entities import WORD
from minigrad.metrics import exact_match, squad_f1
from minigrad.pretrained import AutoTokenizer
from minigrad.tasks.question_answering import QuestionAnswering, answer_tokens, whole_words
from minigrad.train import finetune, pipeline

pytestmark = pytest.mark.slow  # it trains models

pytest.importorskip("tokenizers")
QUICK = {"task": "question-answering", "learning_rate": 2e-2, "per_device_train_batch_size": 8, "max_length": 64}


def questions(count=120, impossible=0.0, seed=0):
    """Contexts in which one word is of the class that the question asks for."""
    rng, others, rows = random.Random(seed), tiny_bert.OTHERS.split(), []
    for i in range(count):
        label = rng.choice(list(tiny_bert.WORDS))
        asked, found = rng.sample(tiny_bert.WORDS[label].split(), 2)
        before, after = (" ".join(rng.choice(others) for _ in range(rng.randint(1, 8))) for _ in range(2))
        answers = [{"text": found, "answer_start": len(before) + 1}]
        if rng.random() < impossible:
            found, answers = rng.choice(others), []
        rows.append(
            {"id": str(i), "question": f"the {asked}", "context": f"{before} {found} {after}", "answers": answers}
        )
    return rows


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert.save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "out"
    finetune(base, questions(), output=out, num_train_epochs=4, **QUICK | {"max_length": 16})  # some in two windows
    return out


def test_a_list_of_questions_becomes_a_model_that_answers(tuned):
    pipe, rows = pipeline("question-answering", tuned), questions(40, seed=1)
    scores = pipe.evaluate(rows)
    assert scores["exact_match"] > 0.9 and scores["f1"] >= scores["exact_match"] and scores["loss"] < 1
    answers = pipe([{name: row[name] for name in ("question", "context")} for row in rows])
    true, found = [[a["text"] for a in row["answers"]] for row in rows], [answer["answer"] for answer in answers]
    assert scores["exact_match"] == pytest.approx(exact_match(true, found))
    assert scores["f1"] == pytest.approx(squad_f1(true, found))
    for answer, row in zip(answers, rows):
        assert row["context"][answer["start"] : answer["end"]] == answer["answer"] and 0 < answer["score"] <= 1
    assert "exact_match" in (tuned / "evaluation.txt").read_text()


def test_what_a_pipeline_returns(tuned):
    pipe = pipeline("question-answering", tuned)
    one = pipe(question="the oven", context="old flour of the")
    assert one["answer"] == "flour" and set(one) == {"score", "start", "end", "answer"}
    assert pipe(question=["the oven"], context=["old flour of the"]) == [one]
    assert pipe({"question": "the oven", "context": "old flour of the"}) == one
    best = pipe(question="the oven", context="old flour of the", top_k=3)
    assert len(best) == 3 and best[0] == one and len({a["answer"] for a in best}) == 3
    assert sorted((a["score"] for a in best), reverse=True) == [a["score"] for a in best]
    longest = pipe(question="the oven", context="old flour of the", top_k=99, max_answer_len=2)
    assert {len(a["answer"].split()) for a in longest} == {1, 2} and len(longest) == 4 + 3
    with pytest.raises(ValueError, match="question 1 has no context: expected the text that it is about, as context="):
        pipe(question="the oven")
    with pytest.raises(ValueError, match="there are 1 questions and 2 contexts; expected one for each"):
        pipe(question=["a"], context=["b", "c"])
    with pytest.raises(ValueError, match="top_k is 0; expected 1 or more"):
        pipe(question="the oven", context="old flour", top_k=0)


def test_long_contexts_are_read_in_windows(tuned):
    """The answer is found wherever it stands, and windows that do not hold it train for none."""
    pipe, others = pipeline(None, tuned), "the a and is with of old new " * 20
    for at in (0, 29 * 7, 29 * 18):  # between words
        context = f"{others[:at]} flour {others[at:]}"
        answer = pipe(question="the oven", context=context)
        assert answer["answer"] == "flour" and answer["start"] == at + 1
    row = {"question": "the oven", "context": f"{others} flour {others}"}
    row["answers"] = [{"text": "flour", "answer_start": len(others) + 1}]
    dataset = pipe.task.encode(pipe.task.read([row]))
    starts = dataset.columns["start_positions"]
    held = [i for i, start in enumerate(starts) if start]
    assert 0 < len(held) < 10 < len(dataset) and starts == dataset.columns["end_positions"]
    assert max(dataset.lengths) == 16
    tokens = [dataset.rows[i].tokens[starts[i]] for i in held]
    assert set(tokens) == {"flour"}
    assert pipe.evaluate([row])["exact_match"] == 1


def test_questions_without_an_answer(base, tmp_path):
    rows = questions(160, impossible=0.4)
    trainer = finetune(base, rows, output=tmp_path / "out", num_train_epochs=4, **QUICK)
    assert trainer.best["eval_exact_match"] > 0.7
    pipe = pipeline(model=tmp_path / "out")
    asked = {"question": "the oven", "context": "old and new of the"}
    assert pipe(asked)["answer"] != "" and pipe(asked, handle_impossible_answer=True) | {"score": 0} == {
        "score": 0,
        "start": 0,
        "end": 0,
        "answer": "",
    }
    assert pipe({"question": "the oven", "context": "old flour"}, handle_impossible_answer=True)["answer"] == "flour"


@pytest.mark.parametrize("answer", ["Hello", "cafe", "hellos", "wide", "world!"])
def test_answers_are_found_in_their_tokens(tmp_path, answer):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizers.word_pieces(tmp_path))
    context = "Hello wide wide world! hellos, cafe."
    (encoding,) = tokenizer(["a b"], [context], padding=False).encodings
    start = context.lower().index(answer.lower())
    first, last = answer_tokens(encoding, [(answer, start)])
    assert (encoding.offsets[first][0], encoding.offsets[last][1]) == (start, start + len(answer))


@pytest.mark.parametrize(
    "text, piece, whole",
    [
        ("an unhappy end", "happ", "unhappy"),
        ("Smith-Jones came", "Smith", "Smith"),
        ("in 1843.", "84", "1843"),
        ("他在東京住", "東京", "東京"),
        ("a well-known man, he", "known man", "known man"),
        ("a, b", ", ", ","),
        ("a new word", " new ", "new"),
    ],
)
def test_answers_consist_of_whole_words(text, piece, whole):
    start = text.index(piece)
    a, b = whole_words(text, [match.span() for match in WORD.finditer(text)], start, start + len(piece))
    assert text[a:b] == whole


@pytest.mark.parametrize(
    "rows, told",
    [
        (["Who?"], "example 1 is 'Who.'; expected a dict with question, context and answers"),
        (
            [questions(1)[0] | {"answers": [{"text": "x", "answer_start": 1}]}],
            "example 1: the answer 'x' is not at character",
        ),
        (questions(4, impossible=1.0), "none of the 3 training questions has an answer; expected some that have"),
        (
            [questions(1)[0] | {"question": "the " * 80}, *questions(8)],
            "has 80 tokens, which leaves no room for its cont",
        ),
    ],
)
def test_what_cannot_be_learnt_from(base, tmp_path, rows, told):
    with pytest.raises(ValueError, match=told):
        finetune(base, rows, output=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()


def test_options_are_checked():
    with pytest.raises(ValueError, match="doc_stride is -1; expected a whole number, 0 or more"):
        QuestionAnswering(doc_stride=-1)
    with pytest.raises(ValueError, match="max_answer_length is 0; expected a whole number, 1 or more"):
        QuestionAnswering(max_answer_length=0)
    with pytest.raises(ValueError, match="doc_stride is '8'; expected a whole number"):
        QuestionAnswering(doc_stride="8")


def test_the_command_line(base, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, questions(60))))
    typed = f"finetune {base} --task question-answering --train train.jsonl --output out --epochs 3 --lr 2e-2"
    assert main([*typed.split(), "--batch-size", "8", "--max-length", "64"]) == 0
    assert 'minigrad predict out "a question" --context FILE' in capsys.readouterr().out
    assert main("evaluate out --file train.jsonl".split()) == 0
    assert capsys.readouterr().out.startswith("question-answering  loss ")
    (tmp_path / "context.txt").write_text("old flour of the")
    for context in ("context.txt", "old flour of the"):
        assert main(["predict", "out", "the oven", "--context", context]) == 0
        assert capsys.readouterr().out.splitlines()[1].endswith("%  flour")
    assert main("predict out --file train.jsonl --output answers.jsonl".split()) == 0
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 60 and set(rows[0]) == {"id", "question", "score", "start", "end", "answer"}
    assert main(["predict", "out", "the oven"]) == 2
    assert "there is no context for the question: add --context" in capsys.readouterr().err


def test_questions_about_the_manual(tmp_path):
    """Which exception, method or version a paragraph names, asked by rules."""
    made_models = pytest.importorskip("made_models")
    base = made_models.manual_reader(tmp_path / "base")
    (tmp_path / "train.json").write_text(json.dumps(made_models.made_data.questions(250)))
    given = QUICK | {"learning_rate": 3e-3, "num_train_epochs": 6, "max_length": 128}
    trainer = finetune(base, tmp_path / "train.json", output=tmp_path / "out", **given)
    assert trainer.best["eval_f1"] > 0.5 and np.isfinite(trainer.best["eval_loss"])
