"""Question answering: finding the answer to a question in a text, if it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import metrics, ops
from ..data import DataCollatorWithPadding
from ..data.entities import WORD
from ..data.questions import Question, question_of, read_questions
from ..errors import is_whole
from ..pretrained import AutoModelForQuestionAnswering
from ..pretrained.config import Config
from ..tensor import Tensor
from .base import check_top_k, counts_table
from .texts import TextTask, WindowDataset


@dataclass
class QuestionAnswering(TextTask):
    """Questions about texts, from SQuAD's JSON or JSONL files (see `minigrad.data.questions`).

    Options:
        max_length: the number of tokens that the model reads at once, a question and a window of its context.
        doc_stride: the number of tokens by which windows overlap, fewer if the questions leave less room.
        max_answer_length: the largest number of tokens of an answer.

    Training uses the first answer of a question; in evaluation any of them is right.  If a file has questions without
    an answer, the model may answer "": it does so where the first token, which stands for no answer, scores highest.
    """

    max_length: int | None = 384
    doc_stride: int = 128
    max_answer_length: int = 30

    name = "question-answering"
    sample_input = '"a question" --context FILE'
    model_class = AutoModelForQuestionAnswering
    answer_options: ClassVar[dict[str, Any]] = {"top_k": 1, "context": None, "handle_impossible_answer": False}

    def __post_init__(self):
        for option, least in (("doc_stride", 0), ("max_answer_length", 1)):
            if not is_whole(given := getattr(self, option), least):
                raise ValueError(f"{option} is {given!r}; expected a whole number, {least} or more")

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("f1", "exact_match", "loss")

    @property
    def columns(self) -> dict[str, str]:
        return {
            "train_loss": "train loss",
            "eval_loss": "eval loss",
            "eval_exact_match": "exact match",
            "eval_f1": "   F1",
        }

    # Files to examples.

    def read_file(self, path: Path, labelled: bool) -> list[Question]:
        return read_questions(path, labelled)

    def read_item(self, where: str, item: Any) -> Question:
        if isinstance(item, Question):
            return item
        if not isinstance(item, Mapping):
            raise ValueError(f"{where} is {str(item)[:60]!r}; expected a dict with question, context and answers")
        return question_of(where, dict(item), labelled=True)

    def examples(self, inputs: Any = None, question: Any = None, context: Any = None, **options: Any) -> list[Question]:
        """The examples for question= and context= (each a text or a list of texts), or for dicts with both."""
        given = question if inputs is None else inputs
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        contexts = context if isinstance(context, (list, tuple)) else [context] * len(given)
        if not given or len(given) != len(contexts):
            raise ValueError(f"there are {len(given)} questions and {len(contexts)} contexts; expected one for each")
        for i, (one, text) in enumerate(zip(given, contexts, strict=True), 1):
            if text is None and not isinstance(one, Mapping):
                raise ValueError(f"question {i} has no context: expected the text that it is about, as context=...")
        rows = [
            dict(one) if isinstance(one, Mapping) else {"question": one, "context": text}
            for one, text in zip(given, contexts, strict=True)
        ]
        return [question_of(f"question {i}", row, labelled=False) for i, row in enumerate(rows, 1)]

    def sample(self) -> dict[str, str]:
        return {"question": "Where is it?", "context": "It is under the mat."}

    def key(self, example: Question) -> str:
        return example.context

    # Examples to a model and a dataset.

    def study(self, train: Sequence[Question], eval: Sequence[Question], config: Config) -> dict[str, Any]:
        self.warn_of_overlap(train, eval, "questions", lambda example: f"{example.question} {example.context}")
        if not any(example.answers for example in train):
            raise ValueError(f"none of the {len(train)} training questions has an answer; expected some that have")
        return {}

    def encode(self, examples: Sequence[Question], labelled: bool = True) -> WindowDataset:
        questions = [example.question.strip() for example in examples]
        special = self.processor.rules.num_special_tokens_to_add(True)
        lengths = [
            len(ids)
            for ids in self.processor(questions, padding=False, truncation=False, add_special_tokens=False)["input_ids"]
        ]
        length = self.processor.model_max_length if self.max_length is None else self.max_length
        room = None if length is None else length - special - max(lengths)
        if room is not None and room < 2:
            longest = examples[int(np.argmax(lengths))]
            raise ValueError(
                f"the question {longest.question[:60]!r} has {max(lengths)} tokens, which leaves no room for its "
                f"context in max_length={length}: shorten it, or pass a larger max_length"
            )
        found = self.processor(
            questions,
            [example.context for example in examples],
            padding=False,
            truncation="only_second",
            max_length=length,
            stride=0 if room is None else min(self.doc_stride, room // 2),
            return_overflowing_tokens=True,
        )
        of = found.pop("overflow_to_sample_mapping")
        dataset = WindowDataset(found, found.encodings, of, examples)
        if labelled:
            spans = [
                answer_tokens(row, examples[text].answers or []) for row, text in zip(dataset.rows, of, strict=True)
            ]
            for name, column in zip(("start_positions", "end_positions"), zip(*spans, strict=True), strict=True):
                dataset.columns[name] = list(column)
        return dataset

    def collator(self) -> DataCollatorWithPadding:
        return DataCollatorWithPadding(self.processor.pad_token_id)  # on the right: answers are positions of tokens

    def describe(self, train: Sequence[Question], eval: Sequence[Question]) -> str:
        """The number of questions, of those without an answer, and one question."""
        counts: dict[str, Callable[[Sequence[Question]], int]] = {
            "questions": len,
            "without an answer": lambda part: sum(not example.answers for example in part),
            "contexts": lambda part: len({example.context for example in part}),
        }
        rows = [(name, count(train), count(eval)) for name, count in counts.items()]
        example = next(example for example in train if example.answers)
        answer, _ = (example.answers or [("", 0)])[0]
        return "\n".join([*counts_table(rows), f"such as {example.question[:90]} {answer[:60]}"])

    def note(self, dataset: WindowDataset) -> str:
        return dataset.note("contexts", self.max_length)

    # Outputs to scores and answers.

    def outputs(self, model: Any, batch: Mapping[str, Any], out: Any = None, **options: Any) -> Tensor:
        """Two scores for each token, (B, T, 2): for an answer that starts there, and for one that ends there."""
        out = model(**batch) if out is None else out
        return ops.stack([out.start_logits, out.end_logits], -1)

    def scores(self, outputs: np.ndarray, labels: Any, dataset: WindowDataset) -> dict[str, Any]:
        true = [[text for text, _ in example.answers or ()] for example in dataset.examples]
        found = self.best_answers(outputs, dataset, 1, self.max_answer_length, not all(true))
        predicted = [best[0]["answer"] for best in found]
        return {"exact_match": metrics.exact_match(true, predicted), "f1": metrics.squad_f1(true, predicted)}

    def best_answers(
        self, outputs: np.ndarray, dataset: WindowDataset, top_k: int, longest: int, maybe_none: bool
    ) -> list[list[dict[str, Any]]]:
        """The `top_k` best answers to each question, by the sum of both scores, over all windows of its context.

        An answer has at most `longest` tokens.  It may be "" if `maybe_none`, or if there is no other.
        """
        found: list[list[tuple[float, dict[str, Any]]]] = [[] for _ in dataset.examples]
        none: list[list[tuple[float, float]]] = [[] for _ in dataset.examples]
        words = [[match.span() for match in WORD.finditer(example.context)] for example in dataset.examples]
        for row, (encoding, text) in enumerate(zip(dataset.rows, dataset.of, strict=True)):
            context = dataset.examples[text].context
            inside = np.array([i for i, part in enumerate(encoding.sequence_ids) if part == 1], int)
            start, end = outputs[row, : len(encoding.ids)].astype(np.float64).T
            among = np.concatenate([[0], inside])  # the tokens of the context, and the first one, for no answer
            p_start, p_end = (np.exp(scores - logsumexp(scores[among])) for scores in (start, end))
            none[text].append((start[0] + end[0], p_start[0] * p_end[0]))
            if not len(inside):
                continue
            first = inside[0]
            width = np.arange(min(longest, len(inside)))
            last = np.minimum(inside[:, None] + width, inside[-1])  # (starts, lengths)
            total = np.where(inside[:, None] + width <= inside[-1], start[inside][:, None] + end[last], -np.inf)
            best = [total.argmax()] if top_k == 1 else np.argsort(-total, axis=None, kind="stable")[:top_k]
            for place in best:
                i, j = np.unravel_index(place, total.shape)
                if np.isfinite(total[i, j]):
                    a, b = first + i, first + i + j
                    span = whole_words(context, words[text], encoding.offsets[a][0], encoding.offsets[b][1])
                    answer = {"score": float(p_start[a] * p_end[b]), "start": span[0], "end": span[1]}
                    found[text].append((total[i, j], answer | {"answer": context[span[0] : span[1]]}))
        answers = []
        for some, nothing in zip(found, none, strict=True):
            if maybe_none or not some:
                total, p = min(nothing)
                some.append((total, {"score": float(p), "start": 0, "end": 0, "answer": ""}))
            ordered = sorted(some, key=lambda one: -one[0])
            kept = {one["answer"]: one for _, one in reversed(ordered)}  # the best of equal answers, as windows overlap
            answers.append([one for _, one in ordered if kept[one["answer"]] is one][:top_k])
        return answers

    def answers(
        self,
        outputs: np.ndarray,
        dataset: WindowDataset,
        top_k: int = 1,
        handle_impossible_answer: bool = False,
        max_answer_len: int | None = None,
        **options: Any,
    ) -> list[Any]:
        """The answer to each question, {"score": probability, "start", "end", "answer"}; a list of them if top_k > 1.

        "start" and "end" are positions of characters in the context.  With handle_impossible_answer an answer may be
        "".
        """
        check_top_k(top_k)
        longest = self.max_answer_length if max_answer_len is None else max_answer_len
        found = self.best_answers(outputs, dataset, top_k, longest, handle_impossible_answer)
        return [best[0] if top_k == 1 else best for best in found]

    def returned(self, answers: list[Any], inputs: Any, question: Any = None, **options: Any) -> Any:
        return super().returned(answers, question if inputs is None else inputs)

    def record(self, example: Question, answer: Any) -> dict[str, Any]:
        best = answer if isinstance(answer, dict) else answer[0]
        more = {} if isinstance(answer, dict) else {"answers": answer}
        return {"id": example.id, "question": example.question, **best, **more}

    def format_answer(self, example: Question, answer: Any) -> str:
        rows = [answer] if isinstance(answer, dict) else answer
        return "\n".join(
            [example.question, *(f"  {one['score']:6.1%}  {one['answer'] or 'no answer'}" for one in rows)]
        )


def answer_tokens(encoding: Any, answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """The first and last token of the first answer in a window; (0, 0) unless the whole answer is in it."""
    if not answers:
        return 0, 0
    text, begin = answers[0]
    finish = begin + len(text.rstrip())
    begin += len(text) - len(text.lstrip())
    inside = [i for i, part in enumerate(encoding.sequence_ids) if part == 1]
    offsets = encoding.offsets
    starts = [i for i in inside if offsets[i][0] <= begin < offsets[i][1]]
    ends = [i for i in inside if offsets[i][0] < finish <= offsets[i][1]]
    return (starts[0], ends[-1]) if starts and ends else (0, 0)


def whole_words(text: str, words: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """text[start:end] extended to whole words, as the new start and end; `words` holds those of each word.

    White space at either end, which some tokenizers count as part of a token, is left out.
    """
    piece = text[start:end]
    if piece.strip():
        start, end = start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
    held = [word for word in words if word[0] < end and start < word[1]]
    return (min(start, held[0][0]), max(end, held[-1][1])) if held else (start, end)


def logsumexp(x: np.ndarray) -> float:
    """log Σ exp(x)."""
    top = x.max()
    return top + np.log(np.exp(x - top).sum())
