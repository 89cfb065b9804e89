"""The options of `generate`, with transformers' names and defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

import numpy as np

from .values import check, is_kind, shown

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
RANKING = ("length_penalty", "early_stopping")
MIN_COUNT = {
    "max_new_tokens": 1,
    "max_length": 1,
    "min_new_tokens": 0,
    "min_length": 0,
    "top_k": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
}
# must not be this
PROBABILITIES = {"top_p": 0, "min_p": None, "typical_p": 0, "epsilon_cutoff": None, "eta_cutoff": None}
TOKENS = {
    **dict.fromkeys(("pad_token_id", "bos_token_id", "decoder_start_token_id", "forced_bos_token_id"), "int"),
    **dict.fromkeys(("eos_token_id", "forced_eos_token_id"), "int | list[int]"),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"), "list[int]"),
    "bad_words_ids": "list[list[int]]",
}
SCORED = ("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens")  # index the scores
KINDS = {
    **TOKENS,
    "stop_strings": "str | list[str]",
    "early_stopping": "bool | 'never'",
    **dict.fromkeys(
        (
            "do_sample",
            "use_cache",
            "remove_invalid_values",
            "renormalize_logits",
            "return_dict_in_generate",
            "output_scores",
            "output_logits",
        ),
        "bool",
    ),
}
NOT_HERE = {
    "penalty_alpha": (None, 0),
    "num_beam_groups": (None, 1),
    "diversity_penalty": (None, 0),
    "constraints": (None,),
    "force_words_ids": (None,),
    "guidance_scale": (None, 1),
    "encoder_repetition_penalty": (None, 1),
    "top_h": (None,),
    "watermarking_config": (None,),
    "token_healing": (None, False),
    "dola_layers": (None,),
    "prompt_lookup_num_tokens": (None,),
    "max_time": (None,),
    "forced_decoder_ids": (None,),
}


def checked(entries: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entries of a file that are set; a token id of -1, which older files write for "none", counts as unset.

    Raises ValueError, which names the entry and the file, `where`, if a value is of the wrong kind.
    """
    found = {
        name: value
        for name, value in entries.items()
        if value is not None and not (name.endswith("_token_id") and type(value) is int and value == -1)
    }
    for name, value in found.items():
        if name in KINDS and not (value == [] and "list" in KINDS[name]):
            check(name, value, KINDS[name], where)
        elif name in ("sequence_bias", "exponential_decay_length_penalty") and not _is_kind(name, value):
            raise ValueError(f"{name} is {shown(value)} in {where}; expected {EXAMPLES[name]}")
    return found


EXAMPLES = {
    "sequence_bias": "token ids with the number added to the score of the last, such as [[[5, 9], -2.0]]",
    "exponential_decay_length_penalty": "where it begins and its factor, such as [10, 1.05]",
    "bad_words_ids": "a list of lists of token ids, one for each word",
    "stop_strings": "a text or a list of texts",
    **{
        name: "a token id, 0 or more" + ", or a list of them" * ("list" in kinds)
        if kinds.startswith("int")
        else "a list of token ids, 0 or more"
        for name, kinds in TOKENS.items()
        if name != "bad_words_ids"
    },
}


def _is_kind(name: str, value: Any) -> bool:
    """Whether one of the options in EXAMPLES is of its kind; an empty list stands for none."""
    if name == "sequence_bias":
        pairs = list(value.items()) if isinstance(value, Mapping) else value
        return isinstance(pairs, (list, tuple)) and all(
            isinstance(pair, (list, tuple))
            and len(pair) == 2
            and is_kind(name, pair[0], "list[int]")
            and isinstance(pair[1], Real)
            for pair in pairs
        )
    if name == "exponential_decay_length_penalty":
        return is_kind(name, value, "list[float]") and len(value) == 2
    return (value == [] and "list" in KINDS[name]) or is_kind(name, value, KINDS[name])


def _listed(value: Any) -> Any:
    """An array, a range or another iterable as a list; anything else as it is."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return [_listed(item) for item in value]
    return value


@dataclass
class GenerationOptions:
    """The options of `generate`.

    Length: `max_new_tokens`, or `max_length`, which counts the prompt (an encoder–decoder's start token) as well, ends
    a text; `min_new_tokens` or `min_length` forbids the end token before.  A text ends with any of `eos_token_id` ([]
    for none), or as soon as it contains one of `stop_strings`, which need the `tokenizer`; `pad_token_id` fills up
    shorter texts.

    Choice: the likeliest token or, with `do_sample`, one drawn from the model's distribution.  Scores are first divided
    by `temperature`; then only the `top_k` likeliest tokens remain (50 by default, 0 for all), the fewest that together
    have probability `top_p`, those at least `min_p` times as likely as the likeliest, those of a typical surprise
    (`typical_p`), and those more likely than `epsilon_cutoff` or `eta_cutoff`.

    Scores: `repetition_penalty` divides those of tokens that already occur.  `no_repeat_ngram_size` forbids that so
    many tokens occur in the same order twice, `encoder_no_repeat_ngram_size` that they repeat the encoder's input.
    `bad_words_ids` are lists of tokens that must not occur; `sequence_bias` maps tuples of tokens to what is added to
    the score of the last; `suppress_tokens` never occur, and `begin_suppress_tokens` never first; `forced_bos_token_id`
    comes first and `forced_eos_token_id` last.  `exponential_decay_length_penalty` (begin, factor) makes the end ever
    likelier; `remove_invalid_values` replaces NaN by 0; `renormalize_logits` turns the final scores into
    log-probabilities. `logits_processor`, a function of ids (B, T) and scores (B, vocabulary) or several, returns new
    scores. `stopping_criteria`, a function of the same arguments or several, returns whether to stop, for all texts or
    for each.

    Beams: `num_beams` texts are extended in parallel, drawn if `do_sample`, and the likeliest is returned; each sum of
    log-probabilities is divided by its length to the power of `length_penalty`.  `early_stopping` True stops once
    `num_beams` texts have ended, False when the others look worse, "never" when they cannot become better.
    `num_return_sequences` texts are returned for each prompt.

    Result: with `return_dict_in_generate` a GenerateOutput, which holds the processed scores with `output_scores`, and
    the model's own with `output_logits`.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    min_new_tokens: int | None = None
    min_length: int | None = None
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    stop_strings: str | Sequence[str] | None = None
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    typical_p: float | None = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: Sequence[Sequence[int]] | None = None
    sequence_bias: Mapping[tuple[int, ...], float] | Sequence[Any] | None = None
    suppress_tokens: Sequence[int] | None = None
    begin_suppress_tokens: Sequence[int] | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | Sequence[int] | None = None
    exponential_decay_length_penalty: tuple[int, float] | None = None
    remove_invalid_values: bool = False
    renormalize_logits: bool = False
    logits_processor: Callable[..., Any] | Sequence[Callable[..., Any]] = ()
    stopping_criteria: Callable[..., Any] | Sequence[Callable[..., Any]] = ()
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_return_sequences: int = 1
    use_cache: bool = True
    return_dict_in_generate: bool = False
    output_scores: bool = False
    output_logits: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any], files: Mapping[str, Any], is_encoder_decoder: bool) -> GenerationOptions:
        """Options from the arguments of `generate` and, where those are silent, from the model's files.

        None leaves a choice to the files, except for what limits the tokens drawn (top_k, top_p, …), where it means no
        limit.

        Raises:
            TypeError: an option is unknown, or not a number where it must be one.
            ValueError: an option makes no sense, or needs another.
        """
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known and name not in NOT_HERE:
                near = "".join(f"; did you mean {one!r}?" for one in get_close_matches(name, known, 1))
                raise TypeError(f"generate takes no {name!r}: it takes {', '.join(known)}{near}")
        given = {
            name: _listed(value) if name in EXAMPLES else value
            for name, value in given.items()
            if value is not None or name in SAMPLING[1:5]
        }
        files = {name: value for name, value in files.items() if value is not None}
        if unsupported := [name for name, neutral in NOT_HERE.items() if (given | files).get(name) not in neutral]:
            raise ValueError(
                f"generate: {unsupported[0]}={(given | files)[unsupported[0]]!r} is not supported: leave "
                "it out, or take it out of generation_config.json"
            )
        for one, other in (("max_new_tokens", "max_length"), ("min_new_tokens", "min_length")):
            if one in given and other in given:
                raise ValueError(f"generate: {one} and {other} say the same in two ways: give one of them")
            if one in given or other in given:
                files = {name: value for name, value in files.items() if name not in (one, other)}
        options = cls(**{name: value for name, value in (files | given).items() if name in known})
        for name in ("logits_processor", "stopping_criteria"):
            functions = getattr(options, name)
            setattr(options, name, [functions] if callable(functions) else list(functions))
        options._check_values()
        options._check_combination(given, is_encoder_decoder)
        return options

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop_strings] if isinstance(self.stop_strings, str) else list(self.stop_strings or ())

    def check_vocabulary(self, size: int) -> None:
        """Raise ValueError if an option would change the score of a token that is not in a vocabulary of this size."""
        words = [
            *(self.bad_words_ids or ()),
            *(
                self.sequence_bias
                if isinstance(self.sequence_bias, Mapping)
                else [ids for ids, _ in self.sequence_bias or ()]
            ),
        ]
        scored = [
            (name, token)
            for name in SCORED
            if (value := getattr(self, name)) is not None
            for token in (value if isinstance(value, (list, tuple)) else [value])
        ]
        scored += [("bad_words_ids or sequence_bias", token) for word in words for token in word]
        for name, token in scored:
            if token >= size:
                raise ValueError(
                    f"generate: {name} holds the token id {token}: expected ids below the vocabulary size, {size}"
                )

    def _check_switches_and_numbers(self):
        """Refuse options that should be True or False and are not, and those that should be numbers."""
        for name in (f.name for f in fields(self) if isinstance(f.default, bool) and f.name != "early_stopping"):
            if not isinstance(value := getattr(self, name), (bool, np.bool_, type(None))):
                raise TypeError(f"generate: {name}={value!r}: give True or False")
        for name in ("temperature", "repetition_penalty", "length_penalty", *PROBABILITIES):
            if (value := getattr(self, name)) is not None and (not isinstance(value, Real) or isinstance(value, bool)):
                raise TypeError(f"generate: {name}={value!r}: give a number")

    def _check_values(self):
        """Refuse values of the wrong kind or out of their range."""
        self._check_switches_and_numbers()
        for name, least in MIN_COUNT.items():
            count = getattr(self, name)
            if count is None:
                continue
            if not isinstance(count, Integral) or isinstance(count, bool):
                raise TypeError(f"generate: {name}={count!r}: give a whole number")
            if int(count) < least:
                raise ValueError(f"generate: {name}={count}: give {least} or more")
        for name, excluded in PROBABILITIES.items():
            value = getattr(self, name)
            if value is not None and not (0 <= value <= 1 and value != excluded):
                at_least = "0 <" if excluded == 0 else "0 <="
                raise ValueError(f"generate: {name}={value} is no probability: give {at_least} {name} <= 1")
        for name, expected in EXAMPLES.items():
            if (value := getattr(self, name)) is not None and not _is_kind(name, value):
                raise ValueError(f"generate: {name}={shown(value)}: give {expected}")

    def _check_combination(self, given: Mapping[str, Any], is_encoder_decoder: bool) -> None:
        """Refuse options that make no sense together, and given options that would have no effect."""
        defaults = {f.name: f.default for f in fields(self)}
        sampling = [name for name in SAMPLING if given.get(name) is not None and given[name] != defaults[name]]
        ranking = [name for name in RANKING if name in given and given[name] != defaults[name]]
        for is_wrong, message in (
            (
                self.max_new_tokens is None and self.max_length is None,
                "say when to stop: give max_new_tokens, such as max_new_tokens=50",
            ),
            (
                not self.temperature > 0,  # or NaN
                f"temperature={self.temperature} must be above 0; to take the likeliest always, leave out do_sample",
            ),
            (
                not self.repetition_penalty > 0,
                f"repetition_penalty={self.repetition_penalty} must be above 0; 1 is none",
            ),
            (
                sampling and not self.do_sample,
                f"{' and '.join(sampling)} act on tokens drawn by chance: add do_sample=True",
            ),
            (ranking and self.num_beams == 1, f"{' and '.join(ranking)} act on beams: add num_beams=4, say"),
            ("" in self.stops, "stop_strings has an empty text, which is in every one: leave it out"),
            (
                self.early_stopping not in (True, False, "never"),
                f'early_stopping={self.early_stopping!r}: give True, False or "never"',
            ),
            (
                self.num_return_sequences > self.num_beams and not (self.do_sample and self.num_beams == 1),
                f"num_return_sequences={self.num_return_sequences} different texts need as many num_beams, or "
                "do_sample=True",
            ),
            (
                (self.output_scores or self.output_logits) and not self.return_dict_in_generate,
                "output_scores and output_logits are parts of what is returned with return_dict_in_generate=True: add "
                "it",
            ),
            (
                self.encoder_no_repeat_ngram_size and not is_encoder_decoder,
                "encoder_no_repeat_ngram_size is for models with an encoder: give no_repeat_ngram_size",
            ),
        ):
            if is_wrong:
                raise ValueError(f"generate: {message}")
