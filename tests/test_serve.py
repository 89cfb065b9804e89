"""A service as its users meet it: in a process of its own, over sockets, with signals, and in a browser."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytest.importorskip("tokenizers")
import browser  # noqa: E402
import fuzz_requests  # noqa: E402
import serving  # noqa: E402
import tiny_bert  # noqa: E402
import tiny_prompts  # noqa: E402
from fuzz_requests import rounded  # noqa: E402

from minigrad import cli  # noqa: E402
from minigrad.pretrained import (  # noqa: E402
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minigrad.serve.app import Service  # noqa: E402
from minigrad.serve.server import Server, listening, settings  # noqa: E402
from minigrad.train import pipeline  # noqa: E402

ROOT = Path(__file__).parent.parent
PATH = "/text-classification"
TEXTS = [example.text for example in tiny_bert.examples()]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return serving.classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def port(model):
    with serving.served(model, "--read-timeout", "1") as (port, _):
        yield port


def together(functions):
    """The results of functions that are called at the same time."""
    found = {}
    threads = [
        threading.Thread(target=lambda i=i, call=call: found.update({i: call()})) for i, call in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[i] for i in range(len(functions))]


def close(a, b):
    return [one["label"] for one in a] == [one["label"] for one in b] and all(
        abs(x["score"] - y["score"]) < 1e-6 for x, y in zip(a, b, strict=True)
    )


def test_many_clients_at_once_get_the_answers_of_predict(model, port, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    typed = ["predict", str(model), "--file", str(tmp_path / "texts.txt"), "--output", str(tmp_path / "answers.jsonl")]
    assert cli.main(typed) == 0
    predicted = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    asked = [{"inputs": text, "parameters": {"top_k": 3}} for text in TEXTS]
    found = together([lambda question=question: serving.ask(port, PATH, question) for question in asked])
    for (status, answer), wanted in zip(found, predicted, strict=True):
        scores = [{"label": label, "score": score} for label, score in wanted["scores"].items()]
        assert status == 200 and close(answer, scores)
    assert serving.measured(port, "minigrad_batches_total") < serving.measured(port, "minigrad_texts_total")


def test_a_list_and_a_single_text_are_answered_as_a_pipeline_does(model, port):
    classify = pipeline("text-classification", model)
    for inputs, options in (
        (TEXTS[0], {}),
        (TEXTS[:5], {}),
        (TEXTS[:5], {"top_k": 2}),
        (TEXTS[0], {"top_k": None}),
        ([TEXTS[0]], {"top_k": 1}),
    ):
        status, answer = serving.ask(port, PATH, {"inputs": inputs, "parameters": options})
        wanted = classify(inputs, **{name: value for name, value in options.items() if value is not None})
        assert status == 200 and rounded(json.dumps(answer)) == rounded(json.dumps(wanted))


def test_thousands_of_malformed_requests_in_small(port):
    found = fuzz_requests.fuzz(port, 240, seed=3)
    assert not found.wrong, found.wrong[:5]
    statuses = {name.split()[1] for name in found.counts}
    assert {"200", "400", "408", "413", "415", "422", "closed"} <= statuses and found.counts["right 200"] == 30


def test_the_fuzz_notices_a_service_that_fails():
    found = fuzz_requests.Fuzz(0, 0)

    async def sent(pieces):
        return 500, b"no"

    found.sent = sent
    asyncio.run(found.request(0))
    asyncio.run(found.request(1))
    assert len(found.wrong) == 2 and "500" in found.wrong[0]


def test_what_was_accepted_is_answered_before_the_end(model):
    """SIGTERM under load: each request that was sent is answered with 200, or its connection was refused."""
    with serving.served(model, "--timeout-graceful-shutdown", "5") as (port, process):
        results = []

        def client(text):
            connection = serving.http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            while True:
                try:
                    connection.request("POST", PATH, json.dumps({"inputs": [text] * 8}), serving.JSON)
                except ConnectionRefusedError:
                    return
                try:
                    response = connection.getresponse()
                    results.append((response.status, len(json.loads(response.read()))))
                    if response.headers.get("connection") == "close":
                        connection.close()
                except (ConnectionError, serving.http.client.HTTPException) as error:
                    results.append((0, repr(error)))
                    return

        threads = [threading.Thread(target=client, args=(text,)) for text in TEXTS[:16]]
        for thread in threads:
            thread.start()
        while len(results) < 100:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        for thread in threads:
            thread.join()
        assert set(results) == {(200, 8)}
        out, errors = process.communicate()
        assert "stopping: what was accepted is answered" in out and not errors


def test_stopping_ends_in_time_though_a_client_never_finishes(model):
    with serving.served(model, "--timeout-graceful-shutdown", "1", "--read-timeout", "60") as (port, process):
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(fuzz_requests.head(1000) + b"{")
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0  # and not after the 60 seconds that the client has
            assert b" 503 " in idle.recv(1000)


def failing(model, *typed):
    """The one line that a service that cannot begin writes."""
    command = [sys.executable, "-m", "minigrad", "serve", str(model), *typed]
    done = subprocess.run(command, capture_output=True, text=True, env=serving.ENVIRONMENT, timeout=60)
    assert done.returncode == 2 and not done.stdout and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_two_services_on_one_port(model, port):
    told = failing(model, "--port", str(port))
    assert told == (
        f"minigrad: error: port {port} of 127.0.0.1 is in use by another program: choose another, such as {port + 1}\n"
    )
    assert serving.ask(port, "/health")[0] == 200


def test_a_model_that_is_not_there_is_damaged_or_went_wrong(model, tmp_path):
    assert "nowhere" in failing(tmp_path / "nowhere")
    for name in ("model.safetensors", "config.json", "vocab.txt"):
        copy = tmp_path / name.replace(".", "_")
        copy.mkdir()
        for file in Path(model).iterdir():
            data = file.read_bytes()
            (copy / file.name).write_bytes(data if file.name != name else data[: len(data) // 2])
        if name == "vocab.txt":
            (copy / name).unlink()
        assert copy.name in failing(copy, "--port", "0")
    nan = BertForSequenceClassification.from_pretrained(model)
    nan.classifier.bias.data[0] = float("nan")
    nan.save_pretrained(tmp_path / "nan")
    (tmp_path / "nan" / "vocab.txt").write_bytes((Path(model) / "vocab.txt").read_bytes())
    assert "answers with numbers that are not finite: its weights are damaged" in failing(
        tmp_path / "nan", "--port", "0"
    )


def test_wrong_options_are_one_line(model):
    assert "there is no option --prt; the nearest is --port" in failing(model, "--prt", "1")
    assert "port is 70000; expected a whole number from 0 to 65535" in failing(model, "--port", "70000")
    assert "--max-texts is 0; expected a whole number, 1 or more" in failing(model, "--max-texts", "0")
    assert "no.such.invalid is no address of this machine" in failing(model, "--host", "no.such.invalid", "--port", "0")
    assert "203.0.113.1 is no address of this machine" in failing(model, "--host", "203.0.113.1", "--port", "0")


def test_a_model_whose_files_vanish_or_are_cut_short_goes_on(tmp_path):
    model = serving.classifier(tmp_path / "model")
    with serving.served(model) as (port, _):
        before = serving.ask(port, PATH, {"inputs": TEXTS})
        for file in model.iterdir():
            file.write_bytes(b"")
            file.unlink()
        assert before[0] == 200 and serving.ask(port, PATH, {"inputs": TEXTS}) == before


@pytest.mark.parametrize("width, dark", [(360, False), (1280, True)])
def test_the_page_in_a_browser_by_keyboard_alone(port, width, dark):
    with browser.Browser() as opened:
        page = opened.page(width, 800, dark)
        page.open(f"http://127.0.0.1:{port}/")
        page.wait("document.activeElement.tagName == 'TEXTAREA'")
        assert page.run("document.title.length > 0 && document.documentElement.scrollWidth") <= width
        page.press("a", browser.CONTROL)
        page.run("document.activeElement.select()")
        page.type("the <b>old</b> violin")
        page.press("Enter", browser.CONTROL)
        assert page.wait("document.querySelectorAll('#answer li').length") == 3
        assert "violin" in page.run("document.getElementById('command').textContent")
        focused = []
        for _ in range(6):
            page.press("Tab")
            focused.append(page.run("document.activeElement.tagName"))
        assert focused[:2] == ["SUMMARY", "BUTTON"]
        page.press("Tab", browser.SHIFT)
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("Array.from(document.querySelectorAll('b')).length") == 0
        asked = {re.sub(r"^http://127.0.0.1:\d+", "", address) for address in page.requested}
        assert {address for address in asked if not address.startswith("data:")} == {
            "/", "/page.css", "/page.js", "/health", PATH
        }  # fmt: skip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A pipeline of each other task, what to type, and a part of what the page then says."""
    bert, tokenizer = tiny_prompts.bert(tmp_path_factory.mktemp("bert"))
    gpt2 = tiny_prompts.gpt2(tmp_path_factory.mktemp("gpt2"))
    sizes = dict(vocab_size=25, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    tags = BertConfig(**sizes, id2label={0: "O", 1: "B-X", 2: "I-X"}, initializer_range=0.7)
    return {
        "fill-mask": (pipeline("fill-mask", bert, tokenizer), "the [MASK] is old", "the wind is old"),
        "text-generation": (pipeline("text-generation", *gpt2), "hello", "hello"),
        "token-classification": (
            pipeline("token-classification", BertForTokenClassification(tags, rng=0).eval(), tokenizer),
            "the old 𝄞 oven",
            "𝄞",
        ),
        "question-answering": (
            pipeline("question-answering", BertForQuestionAnswering(BertConfig(**sizes), rng=0).eval(), tokenizer),
            "the oven is old",
            "the oven is old",
        ),
        "feature-extraction": (
            pipeline("feature-extraction", tiny_bert.save_model(tmp_path_factory.mktemp("base"))),
            "salt",
            "-0.",
        ),
    }


def test_the_page_of_every_other_task(tasks):
    with browser.Browser() as opened:
        for name, (pipe, text, told) in tasks.items():
            listener = listening("127.0.0.1", 0)
            server = Server(settings(Service(pipe, "mine"), 1))
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
            thread.start()
            page = opened.page(360, 740)
            page.open(f"http://127.0.0.1:{listener.getsockname()[1]}/")
            page.wait("document.activeElement.tagName == 'TEXTAREA'")
            page.run("document.activeElement.select()")
            page.type(text)
            page.press("Enter", browser.CONTROL)
            answer = page.wait("/ ms$/.test(document.getElementById('answer').innerText) && "
                               "document.getElementById('answer').innerText")  # fmt: skip
            assert told in answer and page.run("document.documentElement.scrollWidth") == 360, name
            server.should_exit = True
            thread.join(10)


def test_the_container_file_says_what_the_package_has():
    text = (ROOT / "Containerfile").read_text()
    extras = re.search(r'"\.\[([\w,]+)\]"', text)[1].split(",")
    declared = re.findall(
        r"^(\w[\w-]*) =", (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[2], re.M
    )
    assert set(extras) <= set(declared)
    copied = re.findall(r"^COPY (.*) \S+$", text, re.M)
    assert all((ROOT / name).exists() for names in copied for name in names.split())
    command = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.M)[1])
    args = cli.parser().parse_args(command[1:])
    assert (command[0], args.run, args.host) == ("minigrad", cli.run_serve, "0.0.0.0")
