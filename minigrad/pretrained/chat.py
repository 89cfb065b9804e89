"""Renders a chat as the text that a model was trained on, by the template of its tokenizer.

A template is a program by the model's publisher, so it runs in jinja2's sandbox and receives plain data only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint.files import read_json
from .values import shown

TEMPLATE = "chat_template.jinja"


def read_template(directory: Path, settings: Mapping[str, Any]) -> str | dict[str, str] | None:
    """The template in chat_template.jinja, chat_template.json or the settings; several by name; None without one."""
    if (path := directory / TEMPLATE).is_file():
        return path.read_text(encoding="utf-8")
    found: Any = settings.get("chat_template")
    if found is None and (path := directory / "chat_template.json").is_file():
        found = read_json(path).get("chat_template")
    return _checked(found, directory)


def _checked(found: Any, directory: Path) -> Any:
    """A template, several by their names, or None.  Raises ValueError for anything else."""
    if isinstance(found, list) and all(isinstance(one, dict) and one.keys() >= {"name", "template"} for one in found):
        found = {one["name"]: one["template"] for one in found}
    texts = [*found, *found.values()] if isinstance(found, dict) else [] if found is None else [found]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"chat_template is {shown(found)} in the tokenizer_config.json of {directory}; expected a "
            'text, or a list of objects with a "name" and a "template"'
        )
    return found


def render(template: str, messages: Sequence[Mapping[str, Any]], **given: Any) -> str:
    """The text of a chat; the template can also use the values in `given` by their names.

    Raises:
        ImportError: jinja2 is missing.
        ValueError: the template is invalid, or refuses this chat.
    """
    try:
        from jinja2.exceptions import TemplateError
    except ImportError as error:
        raise ImportError(f'a chat template needs jinja2 ({error}): pip install "minigrad-learn[chat]"') from None
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise ValueError(
                f'message {i} of the chat is {message!r}: expected one such as {{"role": "user", "content": "Hello"}}'
            )
    chat = [{name: part for name, part in message.items() if part is not None} for message in messages]
    try:
        return _compiled(template).render(messages=_plain(chat), **{name: _plain(one) for name, one in given.items()})
    except (TemplateError, TypeError) as error:
        raise ValueError(f"the chat template cannot write this chat: {error}") from None


def render_open(template: str, messages: Sequence[Mapping[str, Any]], **given: Any) -> str:
    """The text of a chat up to the end of the content of its last message, without the tokens that would close it."""
    # a private-use character, which marks the end of the content, and a space after it,
    end, last = "\ue000", dict(messages[-1])
    if not isinstance(last.get("content"), str):
        raise ValueError(
            "continue_final_message continues the content of the last message, which has no text: give it one"
        )
    text = render(template, [*messages[:-1], last | {"content": last["content"] + end + " "}], **given)
    if end not in text:
        raise ValueError("the chat template does not write the content of the last message, so it cannot be continued")
    open_text = text[: text.rindex(end)]
    return open_text if f"{end} " in text else open_text.rstrip()  # the template has stripped the space


@lru_cache(8)
def _compiled(template):
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.nodes import Scope
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} … {% endgeneration %}, which marks the assistant's text and does not change it."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            return Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    def raise_exception(message):
        raise TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    sandbox.filters["tojson"] = tojson
    sandbox.globals |= {"raise_exception": raise_exception, "strftime_now": lambda form: datetime.now().strftime(form)}
    return sandbox.from_string(template)


def _plain(value):
    """A value as plain data: text, numbers, lists and dicts."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), None)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return _plain(value.item()) if isinstance(value, np.generic) else f"<{type(value).__name__}>"
