"""Entries of configuration files: every kind in and out of its range, what the refusal says, and every family held to
it.
"""

import math
from dataclasses import fields

import pytest

from minigrad.pretrained import (
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    MobileNetV2Config,
    Qwen2Config,
    Qwen3Config,
    ResNetConfig,
    RobertaConfig,
    T5Config,
    VGGConfig,
    ViTConfig,
)
from minigrad.pretrained.values import check, found_in, shown

FAMILIES = (
    BertConfig,
    RobertaConfig,
    DistilBertConfig,
    GPT2Config,
    T5Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
    ViTConfig,
    ResNetConfig,
    VGGConfig,
    MobileNetV2Config,
)


@pytest.mark.parametrize(
    ("name", "value", "kinds"),
    [
        ("hidden_size", 1, "int"),
        ("hidden_size", 2**31 - 1, "int"),
        ("pad_token_id", 0, "int | None"),
        ("pad_token_id", None, "int | None"),
        ("layer_norm_eps", 1e-12, "float"),
        ("layer_norm_eps", 0, "float"),
        ("dropout", 1, "float"),
        ("anything", -3.5, "float"),
        ("flag", False, "bool"),
        ("name", "x", "str"),
        ("sizes", [1, 2], "int | list[int]"),
        ("sizes", (3,), "list[int]"),
        ("entries", {}, "dict[str, Any]"),
        ("side", "left", "'left' | 'right'"),
        ("model_max_length", 1e30, "float"),
    ],
)
def test_what_is_taken(name, value, kinds):
    check(name, value, kinds)


@pytest.mark.parametrize(
    ("name", "value", "kinds", "told"),
    [
        ("hidden_size", 0, "int", "hidden_size is 0 in the configuration; expected a whole number, 1 or more"),
        ("hidden_size", 2**31, "int", "expected a whole number, 1 or more and at most 2147483647"),
        ("hidden_size", 2.0, "int", "is 2.0 in the configuration; expected a whole number, 1 or more"),
        ("hidden_size", True, "int", "is True in the configuration; expected a whole number, 1 or more"),
        ("hidden_size", math.nan, "int", "is nan in the configuration; expected a whole number, 1 or more"),
        (
            "hidden_size",
            10**4000,
            "int",
            "000… in the configuration; expected a whole number, 1 or more and at most 2147483647",
        ),
        ("num_labels", 10**9, "int", "expected a whole number, 1 or more and at most 1000000"),
        ("pad_token_id", -1, "int", "expected a whole number, 0 or more"),
        (
            "layer_norm_eps",
            math.nan,
            "float",
            "is nan in the configuration; expected a number, 0 or more and at most 1",
        ),
        (
            "layer_norm_eps",
            math.inf,
            "float",
            "is inf in the configuration; expected a number, 0 or more and at most 1",
        ),
        (
            "rms_norm_eps",
            -1,
            "float",
            "rms_norm_eps is -1 in the configuration; expected a number, 0 or more and at most 1",
        ),
        ("anything", math.inf, "float", "anything is inf in the configuration; expected a number"),
        ("anything", "1", "float | None", "anything is '1' in the configuration; expected a number or null"),
        ("resid_pdrop", 1.5, "float", "expected a number, 0 or more and at most 1"),
        ("sizes", [1, 0], "int | list[int]", "expected a whole number, 1 or more or a list of them"),
        ("flag", 1, "bool", "expected true or false"),
        ("name", 5, "str", "expected a text"),
        ("entries", [], "dict", "expected an object"),
        ("side", 5, "'left' | 'right'", "side is 5 in the configuration; expected 'left' or 'right'"),
        ("name", [["x"] * 1000], "str", "… in the configuration; expected a text"),
    ],
)
def test_what_is_refused(name, value, kinds, told):
    with pytest.raises(ValueError) as caught:
        check(name, value, kinds)
    assert (
        str(caught.value).endswith(told)
        and str(caught.value).startswith(f"{name} is ")
        and len(str(caught.value)) < 250
    )


def test_the_name_of_the_file_is_put_in_front_once():
    for told in ("size is 0", "m/config.json: size is 0"):
        with pytest.raises(ValueError, match="^m/config.json: size is 0$"), found_in("m/config.json"):
            raise ValueError(told)
    with pytest.raises(KeyError), found_in("m"):
        raise KeyError("not touched")
    assert shown("x" * 200) == "'" + "x" * 79 + "…"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_takes_a_number_that_makes_no_sense(family):
    """Every entry that is a number, with every value that is none of its kind."""
    numbers = [
        f.name
        for f in fields(family)
        if str(f.type).startswith(("float", "int")) or f.type in (float, int) and f.name != "rest"
    ]
    assert len(numbers) >= 3
    for name in numbers:
        for value in (math.nan, math.inf, -math.inf, -5, "x", [], {}, True, 10**12, 1e300):
            with pytest.raises(ValueError) as caught:
                family(**{name: value})
            assert name in str(caught.value) and len(str(caught.value)) < 400


def test_a_padding_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(
        ValueError, match="pad_token_id is 30522 in .*; expected an id below vocab_size, which is 30522"
    ):
        BertConfig(pad_token_id=30522)
    assert BertConfig(pad_token_id=30521).pad_token_id == 30521 and BertConfig(pad_token_id=-1).pad_token_id is None
