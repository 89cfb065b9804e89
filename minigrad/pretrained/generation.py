"""Writing: a model that scores what comes next, made to choose a token again and again (greedily, by chance, or by beams)."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..nn import KVCache
from ..ops import generator
from ..tape import no_grad
from .beams import search
from .files import SMALL, model_directory, read_json, replacing
from .inputs import host_array, padding_mask, token_ids

SETTINGS = "generation_config.json"


class Generates:
    """What a model that scores the next token can do with it."""
    is_encoder_decoder = False
    new_cache: Callable[[int], list[KVCache]]   # room for so many tokens, as `forward` takes it
    generation_config: Mapping[str, Any] = {}   # what generation_config.json says; the end and padding tokens are taken from it

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike, *, revision: str | None = None, local_files_only: bool = False,
                        **options: Any) -> Self:
        """As for every pretrained model; generation_config.json is read as well, if there is one."""
        model = super().from_pretrained(source, revision=revision, local_files_only=local_files_only, **options)
        home = Path(source).parent if Path(source).is_file() else model_directory(source, SMALL, revision, local_files_only)
        if (home / SETTINGS).is_file():
            model.generation_config = read_json(home / SETTINGS)
        return model

    def save_pretrained(self, directory: str | os.PathLike, *options: Any, **named: Any) -> None:
        """As for every pretrained model, and generation_config.json, if there was one."""
        super().save_pretrained(directory, *options, **named)
        if self.generation_config:
            with replacing(Path(directory) / SETTINGS) as (part,):
                part.write_text(json.dumps(self.generation_config, indent=2) + "\n", encoding="utf-8")

    def generate(self, input_ids: Any, attention_mask: Any = None, *, max_new_tokens: int | None = None, do_sample: bool = False,
                 temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
                 repetition_penalty: float = 1.0, num_beams: int = 1, length_penalty: float = 1.0,
                 early_stopping: bool | str = False, eos_token_id: int | Sequence[int] | None = None,
                 pad_token_id: int | None = None, stop_strings: str | Sequence[str] | None = None, tokenizer: Any = None,
                 streamer: Callable[[np.ndarray], Any] | None = None, use_cache: bool = True,
                 rng: np.random.Generator | int | None = None) -> np.ndarray:
        """Go on writing each text of a batch: without options, always with the likeliest token.  Dropout is off meanwhile.

        Args:
            input_ids: (B, T) prompts.   attention_mask: (B, T), 1 for a token and 0 for padding, on whichever side.
            max_new_tokens: stop after so many, even if no end was reached.
            do_sample: draw each token from the model's distribution, with `rng`, instead of taking the likeliest.
            temperature: divides the scores first: below 1 the likely become likelier.
            top_k, top_p: draw from the k likeliest tokens, and from the fewest that together have probability p (Holtzman et al.
                2020).
            repetition_penalty: scores of tokens that occur in the text already are divided by it, or multiplied if negative
                (Keskar et al. 2019, sec. 4.1).
            num_beams: follow so many texts at a time and return the likeliest of them; each sum of log-probabilities is divided
                by its length to the power of `length_penalty`.  `early_stopping` True ends when as many have ended, False when
                those that go on look worse, "never" when they cannot become better.
            eos_token_id, pad_token_id: tokens that end a text (any of several; [] for none), and what fills up shorter ones; by
                default what the model's files say.
            stop_strings: a text ends, too, as soon as what was written contains one of these; needs the `tokenizer`.
            streamer: called with the new tokens (B,) after each step.
            use_cache: keep keys and values of what was read.  Without, the same tokens come out, slowly.

        Returns:
            (B, T + new) ids: prompts, which are padded on the left, with what was written.  An encoder–decoder returns what was
            written after its start token.

        Raises:
            ValueError: an option is out of range or needs another, or prompt and new tokens are more than the model reads.
        """
        stops = [stop_strings] if isinstance(stop_strings, str) else list(stop_strings or ())
        _check(max_new_tokens, do_sample, temperature, top_k, top_p, repetition_penalty, num_beams, length_penalty,
               early_stopping, stops, tokenizer, streamer)
        eos = self._ids_from_files("eos_token_id") if eos_token_id is None else np.atleast_1d(np.asarray(eos_token_id, np.int64))
        pads = [pad_token_id] if pad_token_id is not None else [*self._ids_from_files("pad_token_id"), *eos, 0]
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with no_grad():
                text = _Text(self, input_ids, attention_mask, max_new_tokens, use_cache)

                def ended(ids: np.ndarray) -> np.ndarray:
                    """Which of some texts (n, T) have just come to an end."""
                    hits = np.isin(ids[:, -1], eos)
                    if stops:
                        written = tokenizer.decode(ids[:, text.start:])
                        hits = hits | [any(stop in one for stop in stops) for one in written]
                    return hits
                if num_beams > 1:
                    candidates = max(2, 1 + len(eos)) * num_beams
                    return search(text, num_beams, max_new_tokens, ended, candidates, repetition_penalty, length_penalty,
                                  early_stopping, pads[0])
                chance = generator(rng) if do_sample else None
                done = np.zeros(len(text.ids), bool)
                for _ in range(max_new_tokens):
                    scores = text.penalised(text.next_scores(), repetition_penalty)
                    tokens = scores.argmax(1) if chance is None else draw(scores, temperature, top_k, top_p, chance)
                    tokens = np.where(done, pads[0], tokens)
                    text.append(tokens)
                    if streamer is not None:
                        streamer(tokens)
                    done |= ended(text.so_far)
                    if done.all():
                        break
                return text.so_far.copy()
        finally:
            for module, training in modes.items():
                module.training = training

    def _ids_from_files(self, name: str) -> np.ndarray:
        """The token, or tokens, of that name in generation_config.json, else in config.json: (n,), empty if there is none."""
        found = self.generation_config.get(name, getattr(self.config, name))
        return np.atleast_1d(np.asarray([] if found is None else found, np.int64))


def _check(max_new_tokens, do_sample, temperature, top_k, top_p, repetition_penalty, num_beams, length_penalty, early_stopping,
           stops, tokenizer, streamer):
    """Refuse options of `generate` that make no sense, or that would be without effect."""
    drawing = [name for name, is_set in (("temperature", temperature != 1), ("top_k", top_k is not None),
                                         ("top_p", top_p is not None)) if is_set]
    ranking = [name for name, is_set in (("length_penalty", length_penalty != 1), ("early_stopping", early_stopping is not False))
               if is_set]
    for name, count in (("max_new_tokens", max_new_tokens), ("top_k", top_k), ("num_beams", num_beams)):
        if count is not None and not isinstance(count, Integral):
            raise TypeError(f"generate: {name}={count!r}: give a whole number")
    for bad, told in (
            (max_new_tokens is None, "say when to stop: give max_new_tokens, such as max_new_tokens=50"),
            (max_new_tokens is not None and max_new_tokens < 1, f"max_new_tokens={max_new_tokens}: give 1 or more"),
            (temperature <= 0, f"temperature={temperature} must be above 0; to take the likeliest always, leave out do_sample"),
            (top_k is not None and top_k < 1, f"top_k={top_k} leaves no token to choose from: give 1 or more"),
            (top_p is not None and not 0 < top_p <= 1, f"top_p={top_p} is not a probability: give 0 < top_p <= 1"),
            (repetition_penalty <= 0, f"repetition_penalty={repetition_penalty} must be above 0; 1 is none"),
            (num_beams < 1, f"num_beams={num_beams} follows no text: give 1 or more"),
            (drawing and not do_sample, f"{' and '.join(drawing)} act on tokens drawn by chance: add do_sample=True"),
            (ranking and num_beams == 1, f"{' and '.join(ranking)} act on beams: add num_beams=4, say"),
            (num_beams > 1 and do_sample, "num_beams and do_sample are two ways to choose: give one of them"),
            (stops and tokenizer is None, "stop_strings are looked for in text: give the tokenizer as well"),
            ("" in stops, "stop_strings has an empty text, which is in every one: leave it out"),
            (num_beams > 1 and streamer, "of beams one is chosen at the end, so nothing can be streamed: use num_beams=1"),
            (early_stopping not in (True, False, "never"), f'early_stopping={early_stopping!r}: give True, False or "never"')):
        if bad:
            raise ValueError(f"generate: {told}")


class _Text:
    """What was read and written so far, (B, T) with room for what is to come, and how the model is asked for what comes next."""

    def __init__(self, model: Any, input_ids: Any, attention_mask: Any, room: int, use_cache: bool):
        longest = model.config.longest
        ids = token_ids(host_array(input_ids), longest)
        if not ids.size:
            raise ValueError(f"generate: input_ids of shape {ids.shape} hold no token to begin from: give each text one or more")
        padding_mask(attention_mask, ids.shape)  # refuses another shape
        mask = np.ones(ids.shape, bool) if attention_mask is None else host_array(attention_mask).astype(bool)
        if not mask.any(1).all():
            raise ValueError(f"generate: text {mask.any(1).argmin()} is nothing but padding: give it one token or more")
        self.model, self.encoded = model, None
        if model.is_encoder_decoder:
            self.encoded, self.encoder_mask = model.encode(ids, mask), mask
            ids = np.full((len(ids), 1), model.config.decoder_start_token_id)
            mask = np.ones(ids.shape, bool)
        order = np.argsort(mask, axis=1, kind="stable")        # padding goes to the left, so that all go on at the same place
        self.start = self.length = ids.shape[1]
        total = self.start + room
        if longest is not None and total > longest:
            fits = f", or give max_new_tokens={longest - self.start}" if self.start < longest else ""
            raise ValueError(f"generate: a prompt of {self.start} tokens and {room} new ones are {total}, but this model reads "
                             f"at most {longest}: shorten the prompt{fits}")
        self.ids, self.mask = np.zeros((len(ids), total), np.int64), np.ones((len(ids), total), bool)
        self.ids[:, :self.start], self.mask[:, :self.start] = (np.take_along_axis(x, order, 1) for x in (ids, mask))
        self.cache = model.new_cache(total) if use_cache else None

    @property
    def so_far(self) -> np.ndarray:
        return self.ids[:, :self.length]

    def next_scores(self) -> np.ndarray:
        """The model's scores (B, vocabulary) of the next token, float32."""
        new = slice(self.cache[0].length if self.cache else 0, self.length)
        if self.model.is_encoder_decoder:
            out = self.model(attention_mask=self.encoder_mask, encoder_outputs=self.encoded, decoder_input_ids=self.ids[:, new],
                             past_key_values=self.cache)
        elif self.mask.all():
            out = self.model(self.ids[:, new], past_key_values=self.cache, logits_to_keep=1)
        else:                                   # positions count tokens, not paddings
            positions = np.maximum(self.mask.cumsum(1) - 1, 0)[:, new]
            out = self.model(self.ids[:, new], self.mask[:, :self.length], past_key_values=self.cache, position_ids=positions,
                             logits_to_keep=1)
        return out.logits[:, -1].numpy().astype(np.float32, copy=False)

    def penalised(self, scores: np.ndarray, penalty: float) -> np.ndarray:
        """Scores with those of tokens that occur in the text made smaller."""
        if penalty != 1:
            rows, columns = self.mask[:, :self.length].nonzero()
            seen, scores = (rows, self.ids[rows, columns]), scores.copy()
            scores[seen] = np.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
        return scores

    def append(self, tokens: np.ndarray) -> None:
        self.ids[:, self.length] = tokens
        self.length += 1

    def select(self, rows: np.ndarray) -> None:
        """Make row i what row `rows[i]` was, in all that is kept."""
        if np.array_equal(rows, np.arange(len(self.ids))):
            return
        self.ids, self.mask = self.ids[rows], self.mask[rows]
        if self.encoded is not None:
            self.encoded, self.encoder_mask = self.encoded[rows], self.encoder_mask[rows]
        for cache in self.cache or ():
            cache.select(rows)


def draw(scores: np.ndarray, temperature: float, top_k: int | None, top_p: float | None, rng: np.random.Generator) -> np.ndarray:
    """A token (B,) for each row of scores (B, vocabulary), by chance; the options are those of `generate`."""
    scores = scores.astype(np.float64) / temperature
    if top_k is not None and top_k < scores.shape[1]:
        scores[scores < np.partition(scores, -top_k)[:, -top_k, None]] = -np.inf
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    if top_p is not None:
        order = np.argsort(-p, kind="stable")
        likelier = np.cumsum(np.take_along_axis(p, order, 1), 1) - np.take_along_axis(p, order, 1)
        np.put_along_axis(p, order, np.where(likelier < top_p, np.take_along_axis(p, order, 1), 0), 1)
        p /= p.sum(1, keepdims=True)
    return np.array([rng.choice(len(row), p=row) for row in p])
