"""A service in a process of its own, as a user starts it, and small models for it to serve."""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import minigrad
from minigrad.pretrained import BertConfig, BertForSequenceClassification

sys.path.insert(0, str(Path(__file__).parent))
import tiny_bert  # noqa: E402

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(minigrad.__file__).parent.parent), "OMP_NUM_THREADS": "1"}
JSON = {"Content-Type": "application/json"}


def classifier(directory: Path) -> Path:
    """The directory of a classifier with random weights."""
    tiny_bert.save_model(directory)
    sizes = json.loads((directory / "config.json").read_text())
    sizes = {name: sizes[name] for name in ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size")}
    config = BertConfig(
        **sizes,
        num_hidden_layers=1,
        max_position_embeddings=128,
        initializer_range=0.5,
        id2label=dict(enumerate(tiny_bert.WORDS)),
    )
    BertForSequenceClassification(config, rng=0).save_pretrained(directory)
    return directory


def started(directory: Path, *typed: str) -> subprocess.Popen:
    """`minigrad serve` with these arguments."""
    command = [sys.executable, "-m", "minigrad", "serve", str(directory), *typed]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def port_of(process: subprocess.Popen) -> int:
    """The port that a service names when it has begun."""
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+:(\d+)/", line)
    assert found, line + process.stderr.read()
    return int(found[1])


@contextmanager
def served(directory: Path, *typed: str) -> Iterator[tuple[int, subprocess.Popen]]:
    """A service on a free port, and its process, which is ended afterwards."""
    process = started(directory, "--port", "0", *typed)
    try:
        yield port_of(process), process
    finally:
        process.kill()
        process.communicate()


def ask(port: int, path: str, question: Any = None, **headers: str) -> tuple[int, Any]:
    """The status and the text or JSON of a response; with a question it is posted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        if question is None:
            connection.request("GET", path, headers=headers)
        else:
            body = question if isinstance(question, bytes) else json.dumps(question).encode()
            connection.request("POST", path, body, JSON | {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        text = response.read().decode()
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return response.status, json.loads(text) if is_json else text
    finally:
        connection.close()


def measured(port: int, name: str) -> float:
    """A number of /metrics, of several the sum."""
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", ask(port, "/metrics")[1], re.M)))
