"""From the body of a request to examples of the task: what is not as expected is refused, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..data.json_text import from_json
from ..tasks import Task
from ..tasks.texts import TextTask
from ..train.pipeline import check_switches
from .limits import Limits

EXPECTED = 'expected an object such as {"inputs": "a text", "parameters": {}}'


class Refusal(Exception):
    """A request that is not answered: the status of the response, and what it says."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Asked(NamedTuple):
    """What a request asks: its inputs, the examples made of them, and the options of the pipeline's call."""

    inputs: Any
    examples: Sequence[Any]
    options: dict[str, Any]


def asked(body: bytes, task: Task, limits: Limits) -> Asked:
    """What the JSON in the body of a request asks.

    Raises Refusal: 400 for what is not JSON, 413 for more than the limits allow, 422 for what the task cannot answer.
    """
    try:
        found = from_json(body)
    except ValueError as error:
        raise Refusal(400, f"the body is not JSON: {error}; {EXPECTED}") from None
    if not isinstance(found, dict) or "inputs" not in found:
        raise Refusal(422, f"the body is {of_kind(found)} without inputs; {EXPECTED}")
    if unknown := set(found) - {"inputs", "parameters"}:
        raise Refusal(422, f"{min(unknown)[:60]!r} is not known; {EXPECTED}")
    inputs, options = found["inputs"], options_of(found.get("parameters"), task, limits)
    check_size(inputs, isinstance(task, TextTask), limits)
    try:
        inputs = task.received(inputs)
        return Asked(inputs, task.examples(inputs, **options), options)
    except (ValueError, TypeError) as error:
        raise Refusal(422, str(error)) from None


def options_of(parameters: Any, task: Task, limits: Limits) -> dict[str, Any]:
    """The options of the pipeline's call; null is the same as leaving one out."""
    if not isinstance(parameters, dict | None):
        raise Refusal(422, f"parameters is {of_kind(parameters)}; {EXPECTED}")
    options = {name: value for name, value in (parameters or {}).items() if value is not None}
    for name in options:
        if name not in task.answer_options:
            known = ", ".join(task.answer_options) or "none"
            raise Refusal(422, f"the parameter {name[:60]!r} is not known; {task.name} has {known}")
    for name, most in (("top_k", limits.max_top_k), ("max_new_tokens", limits.max_new_tokens)):
        value = options.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise Refusal(422, f"{name} is {value!r:.60}; expected a whole number from 1 to {most}")
    try:
        check_switches(options)
    except TypeError as error:
        raise Refusal(422, str(error)) from None
    return options


def check_size(inputs: Any, is_text: bool, limits: Limits) -> None:
    """Refuse more inputs, or longer texts, than the limits allow."""
    items = inputs if isinstance(inputs, list) else [inputs]
    if len(items) > limits.max_texts:
        raise Refusal(413, f"there are {len(items)} inputs; expected at most {limits.max_texts} in a request")
    for i, item in enumerate(items, 1):
        length = sum(map(len, texts_in(item)))
        if is_text and length > limits.max_text_length:
            raise Refusal(413, f"input {i} has {length} characters; expected at most {limits.max_text_length}")


def texts_in(item: Any) -> Iterator[str]:
    """The texts of an input: itself, or the entries of an object, a question with its context."""
    if isinstance(item, str):
        yield item
    elif isinstance(item, Mapping):
        yield from (value for value in item.values() if isinstance(value, str))


def of_kind(value: Any) -> str:
    """What JSON calls a value of this kind."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
