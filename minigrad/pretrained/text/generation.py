"""Text generation, one token after another: greedily, by sampling, or by beam search."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...execution import no_grad
from ...nn import KVCache
from ...ops import generator
from ..checkpoint.files import SMALL, model_directory, path_of, read_json, replacing
from ..generation_options import GenerationOptions, checked
from ..inputs import host_array, padding_mask, token_ids
from ..logits import draw, processes
from ..model import PretrainedModel
from .beams import search

SETTINGS = "generation_config.json"


@dataclass
class GenerateOutput:
    """The generated texts, `sequences` (B, T), and the scores by which they were chosen."""

    sequences: np.ndarray
    # (B,), with beams only: the sum of log-probabilities, divided by a power of the length
    sequences_scores: np.ndarray | None = None
    scores: tuple[np.ndarray, ...] | None = None  # for each new token (B, vocabulary), after processing
    logits: tuple[np.ndarray, ...] | None = None  # the same, as the model returned them


class Generates(PretrainedModel):
    """A model that scores the next token, and can therefore generate text."""

    is_encoder_decoder = False
    new_cache: Callable[[int], list[KVCache]]  # makes empty caches for `forward`, for that many tokens
    generation_config: Mapping[str, Any] = {}  # the entries of generation_config.json: the defaults of `generate`

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike, *, revision: str | None = None, local_files_only: bool = False, **options: Any
    ) -> Self:
        """As for every pretrained model; generation_config.json is read as well, if there is one."""
        model = super().from_pretrained(source, revision=revision, local_files_only=local_files_only, **options)
        path = (
            path_of(source).parent
            if path_of(source).is_file()
            else model_directory(source, SMALL, revision, local_files_only)
        ) / SETTINGS
        if path.is_file():
            model.generation_config = read_json(path)
            checked(model.generation_config, str(path))
        return model

    def save_pretrained(self, directory: str | os.PathLike, *options: Any, **named: Any) -> None:
        """As for every pretrained model; generation_config.json is written as well, if there was one."""
        super().save_pretrained(directory, *options, **named)
        if self.generation_config:
            with replacing(Path(directory) / SETTINGS) as (part,):
                part.write_text(json.dumps(self.generation_config, indent=2) + "\n", encoding="utf-8")

    def generate(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        *,
        tokenizer: Any = None,
        streamer: Callable[[np.ndarray], Any] | None = None,
        rng: np.random.Generator | int | None = None,
        **options: Any,
    ) -> np.ndarray | GenerateOutput:
        """Continue each text of a batch; without options, always with the likeliest token.  Dropout is switched off.

        Args:
            input_ids: (B, T) prompts.
            attention_mask: (B, T), 1 for a token and 0 for padding, on either side.
            tokenizer: the model's tokenizer, which `stop_strings` need.
            streamer: called with the new tokens (B,) after each step.
            rng: the generator from which tokens are drawn, a seed, or None.
            options: those of `GenerationOptions`, such as max_new_tokens=50, do_sample=True, top_p=0.9 or num_beams=4;
                their defaults are in the model's generation_config.json.

        Returns:
            (B · num_return_sequences, T + new) ids: the prompts, padded on the left, with the new tokens.  An
            encoder–decoder returns the new tokens after its start token.  With return_dict_in_generate, a
            GenerateOutput.

        Raises:
            TypeError: an option is unknown, or not a number.
            ValueError: an option, or an entry of the model's files, is out of range or needs another; or prompt and new
                tokens together exceed the model's maximum length.
        """
        o = GenerationOptions.of(options, self._options_from_files(), self.is_encoder_decoder)
        o.check_vocabulary(self.config.vocab_size)
        if o.stops and tokenizer is None:
            raise ValueError("generate: stop_strings are searched for in the text: give the tokenizer as well")
        if streamer is not None and o.num_beams > 1:
            raise ValueError(
                "generate: with beams the text is chosen at the end, so nothing can be streamed: use num_beams=1"
            )
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with no_grad():
                return self._written(o, input_ids, attention_mask, tokenizer, streamer, generator(rng))
        finally:
            for module, training in modes.items():
                module.training = training

    def _written(self, o, input_ids, attention_mask, tokenizer, streamer, rng):
        eos = np.atleast_1d(np.asarray([] if o.eos_token_id is None else o.eos_token_id, np.int64)).tolist()
        pad = o.pad_token_id if o.pad_token_id is not None else next(iter(eos), 0)
        text = _Text(self, input_ids, attention_mask, o, 1 if o.num_beams > 1 else o.num_return_sequences)
        steps = _Steps(text, o, eos, tokenizer)
        if o.num_beams > 1:
            sequences, totals = search(
                text,
                steps.next_scores,
                steps.process,
                o.num_beams,
                text.room,
                steps.ended,
                max(2, 1 + len(eos)) * o.num_beams,
                o.length_penalty,
                o.early_stopping,
                pad,
                o.num_return_sequences,
                rng if o.do_sample else None,
            )
        else:
            sequences, totals = steps.write(pad, rng, streamer), None
        if not o.return_dict_in_generate:
            return sequences
        return GenerateOutput(
            sequences,
            totals if o.output_scores else None,
            tuple(steps.scores) if o.output_scores else None,
            tuple(steps.logits) if o.output_logits else None,
        )

    def _options_from_files(self) -> dict[str, Any]:
        """The options in generation_config.json or, for older models, in config.json."""
        c = self.config
        own = {
            name: value
            for name in ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")
            if (value := getattr(c, name, c.rest.get(name))) is not None
        }
        of_config = checked({**({} if self.generation_config else c.rest), **own}, "config.json")
        return of_config | checked(self.generation_config, SETTINGS)


class _Steps:
    """The steps of one call of `generate`: the next scores, their processing, and which texts have ended."""

    def __init__(self, text: _Text, o: GenerationOptions, eos: Sequence[int], tokenizer: Any):
        self.text, self.o, self.eos, self.tokenizer = text, o, eos, tokenizer
        self.criteria: Any = o.stopping_criteria  # a list, since GenerationOptions.of
        vocabulary = text.model.config.vocab_size
        # Tokens beyond the vocabulary have no score that could be changed.
        possible = [token for token in eos if token < vocabulary]
        self.processes = processes(o, possible, text.start, text.ids.shape[1], text.read)
        self.scores: list[np.ndarray] = []
        self.logits: list[np.ndarray] = []

    def next_scores(self) -> np.ndarray:
        """The model's scores of the next token."""
        scores, rows = self.text.next_scores(), len(self.text.ids)
        if self.o.output_logits:
            self.logits.append(scores if len(scores) == rows else np.repeat(scores, self.o.num_beams, 0))
        return scores

    def process(self, scores: np.ndarray) -> np.ndarray:
        """The scores that the next token is chosen by."""
        for change in self.processes:
            scores = change(self.text.so_far, self.text.mask[:, : self.text.length], scores)
        if self.o.output_scores:
            self.scores.append(scores)
        return scores

    def ended(self, ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Which of the texts (n, T) have ended with their last token."""
        ended = np.isin(ids[:, -1], self.eos)
        if self.o.stops:
            written = self.tokenizer.decode(ids[:, self.text.start :])
            ended = ended | [any(stop in one for stop in self.o.stops) for one in written]
        for criterion in self.criteria:
            ended = ended | np.asarray(criterion(ids, scores), bool)
        return ended

    def write(self, pad: int, rng: np.random.Generator, streamer: Callable[[np.ndarray], Any] | None) -> np.ndarray:
        """Continue each text, token by token, until all have ended."""
        done = np.zeros(len(self.text.ids), bool)
        for _ in range(self.text.room):
            scores = self.process(self.next_scores())
            tokens = np.where(done, pad, draw(scores, rng) if self.o.do_sample else scores.argmax(1))
            self.text.append(tokens)
            if streamer is not None:
                streamer(tokens)
            done |= self.ended(self.text.so_far, scores)
            if done.all():
                break
        return self.text.so_far.copy()


class _Text:
    """The ids of the prompts and of the tokens generated so far, in one preallocated array, and the model's cache."""

    def __init__(self, model: Any, input_ids: Any, attention_mask: Any, o: GenerationOptions, copies: int):
        ids = host_array(input_ids)
        if not ids.size:
            raise ValueError(
                f"generate: input_ids of shape {ids.shape} contain no token to begin with: give each text one or more"
            )
        ids = token_ids(ids, model.config.longest)
        padding_mask(attention_mask, ids.shape)  # raises ValueError for another shape
        mask = np.ones(ids.shape, bool) if attention_mask is None else host_array(attention_mask).astype(bool)
        if not mask.any(1).all():
            raise ValueError(f"generate: text {mask.any(1).argmin()} is nothing but padding: give it one token or more")
        ids, mask = np.repeat(ids, copies, 0), np.repeat(mask, copies, 0)
        self.model, self.encoded, self.encoder_mask = model, None, None
        self.read = [row[real].tolist() for row, real in zip(ids, mask, strict=True)]
        if model.is_encoder_decoder:
            self.encoded, self.encoder_mask = model.encode(ids, mask), mask
            start = o.bos_token_id if o.decoder_start_token_id is None else o.decoder_start_token_id
            if start is None:
                raise ValueError(
                    "generate: the model's files name no decoder_start_token_id: give it; it is often the pad_token_id"
                )
            ids = np.full((len(ids), 1), start)
            mask = np.ones(ids.shape, bool)
        order = np.argsort(mask, axis=1, kind="stable")  # moves padding to the left, so that all texts end together
        self.start = self.length = ids.shape[1]
        total = _total_length(self.start, o, model.config.longest)
        self.ids, self.mask = np.zeros((len(ids), total), np.int64), np.ones((len(ids), total), bool)
        self.ids[:, : self.start], self.mask[:, : self.start] = (np.take_along_axis(x, order, 1) for x in (ids, mask))
        self.cache = model.new_cache(total) if o.use_cache else None

    @property
    def room(self) -> int:
        """The largest number of new tokens."""
        return self.ids.shape[1] - self.start

    @property
    def so_far(self) -> np.ndarray:
        """The ids (B, T) up to now."""
        return self.ids[:, : self.length]

    def next_scores(self) -> np.ndarray:
        """The model's scores (B, vocabulary) of the next token, float32."""
        new = slice(self.cache[0].length if self.cache else 0, self.length)
        if self.model.is_encoder_decoder:
            out = self.model(
                attention_mask=self.encoder_mask,
                encoder_outputs=self.encoded,
                decoder_input_ids=self.ids[:, new],
                past_key_values=self.cache,
            )
        elif self.mask.all():
            out = self.model(self.ids[:, new], past_key_values=self.cache, logits_to_keep=1)
        else:  # positions count tokens, not padding
            positions = np.maximum(self.mask.cumsum(1) - 1, 0)[:, new]
            out = self.model(
                self.ids[:, new],
                self.mask[:, : self.length],
                past_key_values=self.cache,
                position_ids=positions,
                logits_to_keep=1,
            )
        return out.logits[:, -1].numpy().astype(np.float32, copy=False)

    def append(self, tokens: np.ndarray) -> None:
        """Append a token (B,) to each text."""
        self.ids[:, self.length] = tokens
        self.length += 1

    def select(self, rows: np.ndarray) -> None:
        """Replace row i by row `rows[i]`, in the ids and the caches."""
        if np.array_equal(rows, np.arange(len(self.ids))):
            return
        self.ids, self.mask = self.ids[rows], self.mask[rows]
        if self.encoded is not None and self.encoder_mask is not None:
            self.encoded, self.encoder_mask = self.encoded[rows], self.encoder_mask[rows]
        for cache in self.cache or ():
            cache.select(rows)


def _total_length(start: int, o: GenerationOptions, longest: int | None) -> int:
    """The length of prompt and new tokens.  Raises ValueError if it leaves no room, or exceeds the model's maximum."""
    total = start + o.max_new_tokens if o.max_new_tokens is not None else o.max_length or 0
    if total <= start:
        raise ValueError(
            f"generate: max_length={total} leaves no room after a prompt of {start} tokens: give max_new_tokens, or "
            f"for example max_length={start + 50}"
        )
    if longest is not None and total > longest:
        fits = f", or give max_new_tokens={longest - start}" if start < longest else ""
        raise ValueError(
            f"generate: a prompt of {start} tokens and {total - start} new ones are {total}, but this "
            f"model reads at most {longest}: shorten the prompt{fits}"
        )
    return total
