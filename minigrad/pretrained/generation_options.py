"""How a text is to be gone on with: the options of `generate`, with transformers' names and defaults."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

DRAWING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
RANKING = ("length_penalty", "early_stopping")
COUNTS = {"max_new_tokens": 1, "max_length": 1, "min_new_tokens": 0, "min_length": 0, "top_k": 0, "num_beams": 1,
          "num_return_sequences": 1, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0}
SHARES = {"top_p": 0, "min_p": None, "typical_p": 0, "epsilon_cutoff": None, "eta_cutoff": None}   # what the share must be above
NOT_HERE = {"penalty_alpha": (None, 0), "num_beam_groups": (None, 1), "diversity_penalty": (None, 0), "constraints": (None,),
            "force_words_ids": (None,), "guidance_scale": (None, 1), "encoder_repetition_penalty": (None, 1), "top_h": (None,),
            "watermarking_config": (None,), "token_healing": (None, False), "dola_layers": (None,),
            "prompt_lookup_num_tokens": (None,), "max_time": (None,), "forced_decoder_ids": (None,)}


@dataclass
class GenerationOptions:
    """The options of `generate`.

    Length: `max_new_tokens`, or `max_length` with the prompt (an encoder–decoder's start token) counted, ends a text;
    `min_new_tokens` or `min_length` forbids the end token before.  A text ends with any of `eos_token_id` ([] for none), or as
    soon as what was written contains one of `stop_strings`, which need the `tokenizer`; `pad_token_id` fills up shorter ones.

    Choice: the likeliest token, or with `do_sample` one drawn from the model's distribution: after scores are divided by
    `temperature`, from the `top_k` likeliest (50 by default, 0 for all), from the fewest that together have probability
    `top_p`, from those at least `min_p` times as likely as the likeliest, from those of a typical surprise (`typical_p`), from
    those more likely than `epsilon_cutoff` or `eta_cutoff`.

    Scores before: `repetition_penalty` divides those of tokens that occur already; `no_repeat_ngram_size` forbids that so many
    tokens come in the same order twice, and `encoder_no_repeat_ngram_size` as an encoder has read them; `bad_words_ids` are lists
    of tokens that must not come; `sequence_bias` maps tuples of tokens to what is added; `suppress_tokens` never come and
    `begin_suppress_tokens` not first; `forced_bos_token_id` comes first and `forced_eos_token_id` last;
    `exponential_decay_length_penalty` (begin, factor) makes the end likelier and likelier; `remove_invalid_values` makes NaN 0;
    `renormalize_logits` makes log-probabilities at last.  `logits_processor`, a function of ids (B, T) and scores
    (B, vocabulary) or several, returns other scores.  `stopping_criteria`, a function of the same or several, tells whether to
    stop, for all or for each text.

    Beams: `num_beams` texts are followed at a time, drawn if `do_sample`, and the likeliest is returned; each sum of
    log-probabilities is divided by its length to the power of `length_penalty`.  `early_stopping` True ends when as many have
    ended, False when those that go on look worse, "never" when they cannot become better.  `num_return_sequences` texts are
    returned for each prompt.

    Result: with `return_dict_in_generate` a GenerateOutput, which has the scores with `output_scores`, and the model's own with
    `output_logits`.
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
    def of(cls, asked: Mapping[str, Any], files: Mapping[str, Any], is_encoder_decoder: bool) -> GenerationOptions:
        """The options asked for, before those that the model's files say.

        None means that the files decide, but for what limits the tokens drawn (top_k, top_p, …), where it means no limit.

        Raises:
            TypeError: an option is unknown, or no number where it must be one.   ValueError: it makes no sense, or needs another.
        """
        known = [f.name for f in fields(cls)]
        for name in asked:
            if name not in known and name not in NOT_HERE:
                near = "".join(f"; did you mean {one!r}?" for one in get_close_matches(name, known, 1))
                raise TypeError(f"generate takes no {name!r}: it takes {', '.join(known)}{near}")
        asked = {name: value for name, value in asked.items() if value is not None or name in DRAWING[1:5]}
        files = {name: value for name, value in files.items() if value is not None}
        if idle := [name for name, neutral in NOT_HERE.items() if (asked | files).get(name) not in neutral]:
            raise ValueError(f"generate: {idle[0]}={(asked | files)[idle[0]]!r} is not supported: leave it out, or take it out "
                             "of generation_config.json")
        for one, other in (("max_new_tokens", "max_length"), ("min_new_tokens", "min_length")):
            if one in asked and other in asked:
                raise ValueError(f"generate: {one} and {other} say the same in two ways: give one of them")
            if one in asked or other in asked:
                files = {name: value for name, value in files.items() if name not in (one, other)}
        options = cls(**{name: value for name, value in (files | asked).items() if name in known})
        for name in ("logits_processor", "stopping_criteria"):
            given = getattr(options, name)
            setattr(options, name, [given] if callable(given) else list(given))
        options._check(asked, is_encoder_decoder)
        return options

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop_strings] if isinstance(self.stop_strings, str) else list(self.stop_strings or ())

    def _check(self, asked, is_encoder_decoder):
        """Refuse what makes no sense, and of what was asked for also what would be without effect."""
        defaults = {f.name: f.default for f in fields(self)}
        for name, least in COUNTS.items():
            count = getattr(self, name)
            if count is None:
                continue
            if not isinstance(count, Integral) or isinstance(count, bool):
                raise TypeError(f"generate: {name}={count!r}: give a whole number")
            if count < least:
                raise ValueError(f"generate: {name}={count}: give {least} or more")
        for name in ("temperature", "repetition_penalty", "length_penalty", *SHARES):
            if (value := getattr(self, name)) is not None and (not isinstance(value, Real) or isinstance(value, bool)):
                raise TypeError(f"generate: {name}={value!r}: give a number")
        drawing = [name for name in DRAWING if asked.get(name) is not None and asked[name] != defaults[name]]
        ranking = [name for name in RANKING if name in asked and asked[name] != defaults[name]]
        for name, above in SHARES.items():
            value = getattr(self, name)
            if value is not None and not (0 <= value <= 1 and value != above):
                at_least = "0 <" if above == 0 else "0 <="
                raise ValueError(f"generate: {name}={value} is no probability: give {at_least} {name} <= 1")
        for bad, told in (
                (self.max_new_tokens is None and self.max_length is None,
                 "say when to stop: give max_new_tokens, such as max_new_tokens=50"),
                (self.temperature <= 0,
                 f"temperature={self.temperature} must be above 0; to take the likeliest always, leave out do_sample"),
                (self.repetition_penalty <= 0, f"repetition_penalty={self.repetition_penalty} must be above 0; 1 is none"),
                (drawing and not self.do_sample,
                 f"{' and '.join(drawing)} act on tokens drawn by chance: add do_sample=True"),
                (ranking and self.num_beams == 1, f"{' and '.join(ranking)} act on beams: add num_beams=4, say"),
                ("" in self.stops, "stop_strings has an empty text, which is in every one: leave it out"),
                (self.early_stopping not in (True, False, "never"),
                 f'early_stopping={self.early_stopping!r}: give True, False or "never"'),
                (self.num_return_sequences > self.num_beams and not (self.do_sample and self.num_beams == 1),
                 f"num_return_sequences={self.num_return_sequences} different texts need as many num_beams, or do_sample=True"),
                ((self.output_scores or self.output_logits) and not self.return_dict_in_generate,
                 "output_scores and output_logits are parts of what is returned with return_dict_in_generate=True: add it"),
                (self.encoder_no_repeat_ngram_size and not is_encoder_decoder,
                 "encoder_no_repeat_ngram_size is for models with an encoder: give no_repeat_ngram_size"),
                (any(not isinstance(word, (list, tuple)) or not word for word in self.bad_words_ids or ()),
                 f"bad_words_ids={self.bad_words_ids!r}: give a list of lists of token ids, one for each word")):
            if bad:
                raise ValueError(f"generate: {told}")
