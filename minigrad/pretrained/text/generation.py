"""Writing: a model that scores what comes next, made to choose a token again and again (greedily, by chance, or by beams)."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...nn import KVCache
from ...ops import generator
from ...tape import no_grad
from ..checkpoint.files import SMALL, model_directory, read_json, replacing
from ..generation_options import GenerationOptions
from ..inputs import host_array, padding_mask, token_ids
from ..logits import draw, processes
from .beams import search

SETTINGS = "generation_config.json"


@dataclass
class GenerateOutput:
    """What was written, `sequences` (B, T), and what it was chosen by."""
    sequences: np.ndarray
    sequences_scores: np.ndarray | None = None  # of beams, (B,): the sum of log-probabilities, by length
    scores: tuple[np.ndarray, ...] | None = None               # for each new token (B, vocabulary), after all changes
    logits: tuple[np.ndarray, ...] | None = None               # and as the model gave them


class Generates:
    """What a model that scores the next token can do with it."""
    is_encoder_decoder = False
    new_cache: Callable[[int], list[KVCache]]   # room for so many tokens, as `forward` takes it
    generation_config: Mapping[str, Any] = {}   # what generation_config.json says: the defaults of `generate`

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

    def generate(self, input_ids: Any, attention_mask: Any = None, *, tokenizer: Any = None,
                 streamer: Callable[[np.ndarray], Any] | None = None, rng: np.random.Generator | int | None = None,
                 **options: Any) -> np.ndarray | GenerateOutput:
        """Go on writing each text of a batch: without options, always with the likeliest token.  Dropout is off meanwhile.

        Args:
            input_ids: (B, T) prompts.   attention_mask: (B, T), 1 for a token and 0 for padding, on whichever side.
            tokenizer: of the model, which `stop_strings` need.
            streamer: called with the new tokens (B,) after each step.
            rng: what tokens are drawn with: a generator, a seed, or None.
            options: those of `GenerationOptions`, such as max_new_tokens=50, do_sample=True, top_p=0.9 or num_beams=4; by default
                what the model's generation_config.json says.

        Returns:
            (B · num_return_sequences, T + new) ids: prompts, which are padded on the left, with what was written.  An
            encoder–decoder returns what was written after its start token.  With return_dict_in_generate, a GenerateOutput.

        Raises:
            TypeError: an option is unknown, or no number.
            ValueError: an option is out of range or needs another, or prompt and new tokens are more than the model reads.
        """
        o = GenerationOptions.of(options, self._options_from_files(), self.is_encoder_decoder)
        if o.stops and tokenizer is None:
            raise ValueError("generate: stop_strings are looked for in text: give the tokenizer as well")
        if streamer is not None and o.num_beams > 1:
            raise ValueError("generate: of beams one is chosen at the end, so nothing can be streamed: use num_beams=1")
        eos = np.atleast_1d(np.asarray([] if o.eos_token_id is None else o.eos_token_id, np.int64))
        pad = o.pad_token_id if o.pad_token_id is not None else next(iter(eos.tolist()), 0)
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with no_grad():
                return self._written(o, input_ids, attention_mask, eos, pad, tokenizer, streamer, generator(rng))
        finally:
            for module, training in modes.items():
                module.training = training

    def _written(self, o, input_ids, attention_mask, eos, pad, tokenizer, streamer, rng):
        copies = 1 if o.num_beams > 1 else o.num_return_sequences
        text = _Text(self, input_ids, attention_mask, o, copies)
        change = processes(o, eos.tolist(), text.start, text.ids.shape[1], text.read)
        kept = {"scores": [], "logits": []}

        def process(scores: np.ndarray) -> np.ndarray:
            """The scores that tokens are chosen by."""
            for one in change:
                scores = one(text.so_far, text.mask[:, :text.length], scores)
            if o.output_scores:
                kept["scores"].append(scores)
            return scores

        def next_scores() -> np.ndarray:
            scores = text.next_scores()
            if o.output_logits:
                kept["logits"].append(scores if len(scores) == len(text.ids) else np.repeat(scores, o.num_beams, 0))
            return scores

        def ended(ids: np.ndarray, scores: Any) -> np.ndarray:
            """Which of some texts (n, T) have just come to an end."""
            hits = np.isin(ids[:, -1], eos)
            if o.stops:
                written = tokenizer.decode(ids[:, text.start:])
                hits = hits | [any(stop in one for stop in o.stops) for one in written]
            for criterion in o.stopping_criteria:
                hits = hits | np.asarray(criterion(ids, scores), bool)
            return hits
        room, found = text.ids.shape[1] - text.start, {}
        if o.num_beams > 1:
            candidates = max(2, 1 + len(eos)) * o.num_beams
            sequences, best = search(text, next_scores, process, o.num_beams, room, ended, candidates, o.length_penalty,
                                     o.early_stopping, pad, o.num_return_sequences, rng if o.do_sample else None)
            found["sequences_scores"] = best if o.output_scores else None
        else:
            done = np.zeros(len(text.ids), bool)
            for _ in range(room):
                scores = process(next_scores())
                tokens = np.where(done, pad, draw(scores, rng) if o.do_sample else scores.argmax(1))
                text.append(tokens)
                if streamer is not None:
                    streamer(tokens)
                done |= ended(text.so_far, scores)
                if done.all():
                    break
            sequences = text.so_far.copy()
        if not o.return_dict_in_generate:
            return sequences
        return GenerateOutput(sequences, **found, scores=tuple(kept["scores"]) if o.output_scores else None,
                              logits=tuple(kept["logits"]) if o.output_logits else None)

    def _options_from_files(self) -> dict[str, Any]:
        """What generation_config.json says or, as older models have it, config.json."""
        c = self.config
        tokens = {name: value for name in ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")
                  if (value := getattr(c, name, c.rest.get(name))) is not None}
        return {**({} if self.generation_config else c.rest), **tokens, **self.generation_config}


class _Text:
    """What was read and written so far, (B, T) with room for what is to come, and how the model is asked for what comes next."""

    def __init__(self, model: Any, input_ids: Any, attention_mask: Any, o: GenerationOptions, copies: int):
        longest, ids = model.config.longest, host_array(input_ids)
        if not ids.size:
            raise ValueError(f"generate: input_ids of shape {ids.shape} hold no token to begin from: give each text one or more")
        ids = token_ids(ids, longest)
        padding_mask(attention_mask, ids.shape)  # refuses another shape
        mask = np.ones(ids.shape, bool) if attention_mask is None else host_array(attention_mask).astype(bool)
        if not mask.any(1).all():
            raise ValueError(f"generate: text {mask.any(1).argmin()} is nothing but padding: give it one token or more")
        ids, mask = np.repeat(ids, copies, 0), np.repeat(mask, copies, 0)
        self.model, self.encoded, self.read = model, None, [row[real].tolist() for row, real in zip(ids, mask, strict=True)]
        if model.is_encoder_decoder:
            self.encoded, self.encoder_mask = model.encode(ids, mask), mask
            start = o.bos_token_id if o.decoder_start_token_id is None else o.decoder_start_token_id
            if start is None:
                raise ValueError("generate: the model's files name no decoder_start_token_id: give it; it is often the "
                                 "pad_token_id")
            ids = np.full((len(ids), 1), start)
            mask = np.ones(ids.shape, bool)
        order = np.argsort(mask, axis=1, kind="stable")        # padding goes to the left, so that all go on at the same place
        self.start = self.length = ids.shape[1]
        total = self.start + o.max_new_tokens if o.max_new_tokens is not None else o.max_length
        room = total - self.start
        if room < 1:
            raise ValueError(f"generate: max_length={total} leaves no room beside a prompt of {self.start} tokens: give "
                             f"max_length={self.start + 50}, say, or max_new_tokens")
        if longest is not None and total > longest:
            fits = f", or give max_new_tokens={longest - self.start}" if self.start < longest else ""
            raise ValueError(f"generate: a prompt of {self.start} tokens and {room} new ones are {total}, but this model reads "
                             f"at most {longest}: shorten the prompt{fits}")
        self.ids, self.mask = np.zeros((len(ids), total), np.int64), np.ones((len(ids), total), bool)
        self.ids[:, :self.start], self.mask[:, :self.start] = (np.take_along_axis(x, order, 1) for x in (ids, mask))
        self.cache = model.new_cache(total) if o.use_cache else None

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
