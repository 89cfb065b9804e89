"""Each address of a service and each limit, asked without a socket."""

import asyncio
import base64
import io
import json
import threading

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("tokenizers")
import serving  # noqa: E402
import tiny_bert  # noqa: E402
import tiny_prompts  # noqa: E402

from minigrad.pretrained import (  # noqa: E402
    AutoImageProcessor,
    BertConfig,
    BertForQuestionAnswering,
    BertForTokenClassification,
    ResNetConfig,
    ResNetForImageClassification,
)
from minigrad.serve.app import HUNG_UP, Service  # noqa: E402
from minigrad.serve.limits import Limits  # noqa: E402
from minigrad.train import pipeline  # noqa: E402

PATH = "/text-classification"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return serving.classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def classify(model):
    return pipeline("text-classification", model)


async def called(service, method, path, body=b"", headers=(), hangs_up=None):
    """Status, headers and body of a response; the client hangs up once the event `hangs_up` is set."""
    sent, messages = [], [{"type": "http.request", "body": body, "more_body": False}]
    usual = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    pairs = [(name.encode(), value.encode()) for name, value in (usual | dict(headers)).items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": pairs, "scheme": "http", "server": ("localhost", 80), "client": None, "root_path": ""}

    async def receive():
        if messages:
            return messages.pop(0)
        await (hangs_up or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await service(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def posted(service, question, **headers):
    """The status and the JSON of the answer to a question."""
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, text = asyncio.run(called(service, "POST", service.path, body, headers.items()))
    return status, json.loads(text)


def test_each_refusal_says_what_was_expected(classify):
    service = Service(classify, "mine", Limits(max_texts=3, max_text_length=20, max_body_bytes=400, max_top_k=2))
    for question, status, told in (
        (b"{", 400, "the body is not JSON: Expecting property name"),
        (b"\xff\xfe\x00", 400, "the body is not JSON"),
        (b"[" * 200 + b"]" * 200, 400, "nested more than 100 deep"),
        (b"3", 422, "the body is a number without inputs; expected an object such as"),
        (b"{}", 422, "the body is an object without inputs"),
        ({"inputs": "a", "input": 1}, 422, "'input' is not known"),
        ({"inputs": 3}, 422, "the texts are 3; expected a text or a list of them"),
        ({"inputs": {"a": "b"}}, 422, "expected a text or a list of them"),
        ({"inputs": []}, 422, "there is no text; expected one or more"),
        ({"inputs": ["a", None]}, 422, "text 2 is 'None', a NoneType; expected a str"),
        ({"inputs": "\ud800"}, 422, "text 1"),
        ({"inputs": "a", "parameters": [1]}, 422, "parameters is a list"),
        ({"inputs": "a", "parameters": {"topk": 1}}, 422, "the parameter 'topk' is not known; text-classification has"),
        ({"inputs": "a", "parameters": {"top_k": 3}}, 422, "top_k is 3; expected a whole number from 1 to 2"),
        ({"inputs": "a", "parameters": {"top_k": "2"}}, 422, "top_k is '2'; expected a whole number from 1"),
        ({"inputs": "a", "parameters": {"top_k": True}}, 422, "top_k is True; expected a whole number from 1"),
        ({"inputs": ["a"] * 4}, 413, "there are 4 inputs; expected at most 3 in a request"),
        ({"inputs": ["a", "b" * 21]}, 413, "input 2 has 21 characters; expected at most 20"),
        (b" " * 401, 413, "the body is larger than 400 bytes"),
    ):
        found = posted(service, question)
        assert found[0] == status and told in found[1]["error"], (question, found)
    assert posted(service, {"inputs": "a"}, content_type="text/plain")[0] == 415
    assert posted(service, {"inputs": "a"})[0] == 200


def test_other_addresses_methods_and_hosts(classify):
    service = Service(classify, "mine", hosts=("127.0.0.1", "localhost", "[::1]"))
    status, _, body = asyncio.run(called(service, "GET", "/nothing"))
    assert status == 404 and json.loads(body)["error"].startswith("there is no GET /nothing; expected POST /text-cl")
    status, headers, _ = asyncio.run(called(service, "GET", PATH))
    assert status == 405 and headers["allow"] == "POST"
    for host, expected in (("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("LOCALHOST", 200),
                           ("evil.example", 400), ("[::1", 400), ("", 400)):  # fmt: skip
        assert posted(service, {"inputs": "a"}, host=host)[0] == expected, host
    assert posted(Service(classify, "mine"), {"inputs": "a"}, host="weather.example.org")[0] == 200


def test_health_metrics_and_the_page(classify):
    service = Service(classify, "mine")
    assert posted(service, {"inputs": ["oven", "mast"]})[0] == 200
    status, _, body = asyncio.run(called(service, "GET", "/health"))
    told = json.loads(body)
    assert (status, told["status"], told["task"], told["model"]) == (200, "ok", "text-classification", "mine")
    assert told["limits"]["max_texts"] == 64 and told["parameters"] == ["top_k"] and told["sample"]
    status, _, body = asyncio.run(called(service, "GET", "/metrics"))
    lines = body.decode().splitlines()
    assert 'minigrad_requests_total{status="200"} 2' in lines and "minigrad_texts_total 2" in lines
    assert "minigrad_request_seconds_count 1" in lines and 'minigrad_request_seconds_bucket{le="+Inf"} 1' in lines
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        status, headers, body = asyncio.run(called(service, "GET", path))
        assert status == 200 and body and headers["content-type"].startswith(kind)
        assert "default-src 'none'" in headers["content-security-policy"]
    assert b"http" not in asyncio.run(called(service, "GET", "/"))[2]  # nothing from elsewhere


@pytest.fixture
def gate(classify, monkeypatch):
    """Holds the model until it is opened; of each batch, what it was asked."""
    opened, seen, answers = threading.Event(), [], classify.answers

    def held(examples, batch_size, **options):
        seen.append([example.text for example in examples])
        opened.wait()
        return answers(examples, batch_size, **options)

    monkeypatch.setattr(classify, "answers", held)
    yield opened, seen
    opened.set()


def test_what_waits_is_one_batch_a_full_queue_is_told_and_hanging_up_frees_the_place(classify, gate):
    opened, seen = gate
    service = Service(classify, "mine", Limits(max_queue=3))

    async def scene():
        def ask(text, hangs_up=None):
            body = json.dumps({"inputs": text}).encode()
            return asyncio.ensure_future(called(service, "POST", PATH, body, hangs_up=hangs_up))

        async def waiting(count):
            while service.batcher.waiting != count or not seen:
                await asyncio.sleep(0.001)

        gone = asyncio.Event()
        first = ask("oven")
        await waiting(0)
        second, left, third = ask(["mast", "wind"]), ask("rope", gone), None
        await waiting(3)
        status, headers, body = await ask("salt")
        assert status == 429 and headers["retry-after"] == "1"
        assert json.loads(body)["error"] == "3 inputs wait already, and there is room for 3: try again in a second"
        gone.set()
        assert (await left)[0] == HUNG_UP
        await waiting(2)
        third = ask("salt")
        await waiting(3)
        opened.set()
        return [(await one)[0] for one in (first, second, third)]

    assert asyncio.run(scene()) == [200, 200, 200]
    assert seen == [["oven"], ["mast", "wind", "salt"]]
    assert service.measures.requests == {200: 3, 429: 1, HUNG_UP: 1}


def test_one_request_cannot_spoil_the_batch_of_others(classify, gate, monkeypatch):
    opened, seen = gate
    held = classify.answers

    def strict(examples, batch_size, **options):
        found = held(examples, batch_size, **options)
        if any(example.text == "bad" for example in examples):
            raise ValueError("this text is bad")
        if any(example.text == "worse" for example in examples):
            raise RuntimeError("ours")
        return found

    monkeypatch.setattr(classify, "answers", strict)
    service = Service(classify, "mine")

    async def scene():
        bodies = [json.dumps({"inputs": text}).encode() for text in ("oven", "mast", "bad", "worse", "rope")]
        asked = [asyncio.ensure_future(called(service, "POST", PATH, body)) for body in bodies]
        await asyncio.sleep(0.05)
        opened.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    oven, mast, bad, worse, rope = asyncio.run(scene())
    assert [one[0] for one in (oven, mast, bad, rope)] == [200, 200, 422, 200]
    assert json.loads(bad[2]) == {"error": "this text is bad"}
    assert isinstance(worse, RuntimeError)  # after a response of 500, for the log
    assert service.measures.requests[500] == 1


def test_an_answer_that_is_not_a_number_is_a_fault_of_ours(classify, monkeypatch):
    monkeypatch.setattr(classify, "answers", lambda *_, **__: [[{"label": "a", "score": float("nan")}]])
    with pytest.raises(ValueError, match="not JSON compliant"):
        posted(Service(classify, "mine"), {"inputs": "oven"})


def test_a_generating_task_and_its_limits(tmp_path):
    model, tokenizer = tiny_prompts.gpt2(tmp_path)
    write = pipeline("text-generation", model, tokenizer)
    service = Service(write, "mine", Limits(max_new_tokens=9))
    question = {"inputs": ["hello", "hello world hello"], "parameters": {"max_new_tokens": 5}}
    status, answer = posted(service, question)
    assert status == 200 and answer == write(question["inputs"], max_new_tokens=5)
    drawn = {"inputs": "hello", "parameters": {"max_new_tokens": 5, "do_sample": True, "seed": 4}}
    assert posted(service, drawn) == posted(service, drawn) == (
        200, write("hello", max_new_tokens=5, do_sample=True, seed=4)
    )  # fmt: skip
    assert posted(service, {"inputs": "hello", "parameters": {"max_new_tokens": 10}})[0] == 422
    status, told = posted(service, {"inputs": "hello " * 200, "parameters": {"max_new_tokens": 5}})
    assert status == 422 and "this model reads at most 200" in told["error"]
    status, told = posted(service, {"inputs": "hello", "parameters": {"temperature": "hot", "do_sample": True}})
    assert status == 422 and "temperature" in told["error"]


def test_nobody_writes_for_clients_that_have_hung_up(tmp_path):
    model, tokenizer = tiny_prompts.gpt2(tmp_path)
    write = pipeline("text-generation", model, tokenizer)
    service, steps, gone = Service(write, "mine"), [], None
    forward = type(model).forward

    async def scene():
        nonlocal gone
        gone, loop = asyncio.Event(), asyncio.get_running_loop()

        def counted(self, *given, **named):
            steps.append(1)
            if len(steps) == 5:
                loop.call_soon_threadsafe(gone.set)
            if len(steps) >= 5:
                threading.Event().wait(0.005)
            return forward(self, *given, **named)

        type(model).forward = counted
        try:
            body = json.dumps({"inputs": "hello", "parameters": {"max_new_tokens": 150}}).encode()
            found = await called(service, "POST", service.path, body, hangs_up=gone)
            while service.batcher.computing:
                await asyncio.sleep(0.01)
            return found[0]
        finally:
            type(model).forward = forward

    model.generation_config = {"eos_token_id": None}
    assert asyncio.run(scene()) == HUNG_UP
    assert 5 <= len(steps) < 100


def test_masks_questions_entities_and_pictures(tmp_path):
    model, tokenizer = tiny_prompts.bert(tmp_path)
    fill = pipeline("fill-mask", model, tokenizer)
    service = Service(fill, "mine")
    question = {"inputs": "the [MASK] is old", "parameters": {"top_k": 2}}
    assert posted(service, question) == (200, fill(question["inputs"], top_k=2))
    status, told = posted(service, {"inputs": "the oven"})
    assert status == 422 and "has no [MASK]" in told["error"]
    sizes = dict(vocab_size=25, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    tags = BertConfig(**sizes, id2label={0: "O", 1: "B-X", 2: "I-X"}, initializer_range=0.5)
    for name, made, inputs in (
        ("token-classification", BertForTokenClassification(tags, rng=0), ["the old oven", "salt"]),
        (
            "question-answering",
            BertForQuestionAnswering(BertConfig(**sizes), rng=0),
            {"question": "old oven", "context": "the old oven is new"},
        ),
    ):
        pipe = pipeline(name, made.eval(), tokenizer)
        status, answer = posted(Service(pipe, "mine"), {"inputs": inputs})
        assert status == 200 and answer == pipe(inputs)
    question = {"inputs": inputs, "parameters": {"handle_impossible_answer": "false"}}
    told = {"error": "handle_impossible_answer is 'false'; expected true or false"}
    assert posted(Service(pipe, "mine"), question) == (422, told)
    with pytest.raises(TypeError, match="handle_impossible_answer is 'false'; expected true or false"):
        pipe(inputs, handle_impossible_answer="false")


def test_pictures_are_sent_in_base64_and_names_of_files_are_not_read(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 4, 4, 8], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    config = ResNetConfig(**sizes, id2label={0: "a", 1: "b"})
    model = ResNetForImageClassification(config, rng=0).eval()
    size = {"height": 8, "width": 8}
    processor = AutoImageProcessor({"image_processor_type": "ViTImageProcessor", "size": size})
    pipe = pipeline("image-classification", model, processor)
    service = Service(pipe, "mine")
    pixels, file = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    wanted = pipe(pixels, top_k=2)
    for inputs, answer in ((text, wanted), (f"data:image/png;base64,{text}", wanted), ([text], [wanted])):
        assert posted(service, {"inputs": inputs, "parameters": {"top_k": 2}}) == (200, answer)
    assert posted(service, {"inputs": pipe.task.sample()})[0] == 200
    for wrong, told in (
        (__file__, "is not in base64"),
        (base64.b64encode(b"text").decode(), "is not a picture that Pillow can read"),
        (text[: len(text) // 2 // 4 * 4], "was not read as a picture"),
        (3, "expected the bytes of a file in base64"),
        ([], "there is no picture"),
    ):
        status, found = posted(service, {"inputs": wrong})
        assert status == 422 and told in found["error"], (wrong, found)


def test_features(tmp_path):
    embed = pipeline("feature-extraction", tiny_bert.save_model(tmp_path))
    service = Service(embed, "mine")
    for options in ({}, {"pooling": "mean"}, {"pooling": "cls", "normalize": False}):
        question = {"inputs": ["the oven", "salt"], "parameters": options}
        assert posted(service, question) == (200, embed(question["inputs"], **options))
    status, told = posted(service, {"inputs": "salt", "parameters": {"pooling": "sum"}})
    assert status == 422 and told["error"] == "pooling is 'sum'; expected one of 'mean', 'cls', 'max'"
