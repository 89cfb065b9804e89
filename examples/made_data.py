"""Makes entities and questions by rules from the text of the manual in the standard library, with a seed.

    python examples/made_data.py data      # writes data/entities.jsonl, data/questions.json

Entities are the names of exceptions and of special methods (without their underscores), and versions of Python, which
regular expressions find in `pydoc_data.topics`.  Questions ask for the only entity of a kind in a paragraph.  Both
show that files, training, scores and answers work; scores on them say little about texts that people labelled.
"""

import builtins
import json
import random
import re
import sys
from pathlib import Path
from pydoc_data.topics import topics

EXCEPTIONS = "|".join(name for name in dir(builtins) if name.endswith(("Error", "Exception", "Warning", "Iteration")))
KINDS = {
    "EXCEPTION": re.compile(rf"\b(?:{EXCEPTIONS})\b"),
    "METHOD": re.compile(r"(?<=__)[a-z]+(?=__)"),  # the name between the underscores
    "VERSION": re.compile(r"\b(?:Python|version) \d+\.\d+(?:\.\d+)?"),
}
ANSWERS = KINDS | {"METHOD": re.compile(r"__\w+__(?!\w)")}
QUESTIONS = {
    "EXCEPTION": ("Which exception is named?", "What is the name of the exception?"),
    "METHOD": ("Which special method is named?", "What is the special method called?"),
    "VERSION": ("Which version is it about?", "Since which version of Python?"),
}


def paragraphs(longest: int = 300) -> list[str]:
    """The distinct paragraphs of the manual that name an entity, with white space folded, in a fixed order."""
    found = {}
    for _, topic in sorted(topics.items()):
        for paragraph in re.split(r"\n\s*\n", topic):
            text = " ".join(paragraph.split())
            if len(text) <= longest and any(kind.search(text) for kind in KINDS.values()):
                found[text] = None
    return list(found)


def spans(text: str, kinds: dict[str, re.Pattern] = KINDS) -> list[dict]:
    """The entities of a text: start, end and label."""
    found = [(*match.span(), kind) for kind, pattern in kinds.items() for match in pattern.finditer(text)]
    return [{"start": start, "end": end, "label": kind} for start, end, kind in sorted(found)]


def entities(count: int | None = None, seed: int = 0) -> list[dict]:
    """Texts with their entities, the objects of a JSONL file."""
    texts = paragraphs()
    random.Random(seed).shuffle(texts)
    return [{"text": text, "entities": spans(text)} for text in texts[:count]]


def questions(count: int | None = None, seed: int = 0) -> dict:
    """Questions in SQuAD's format: for each paragraph those whose answer occurs in it once."""
    rng, articles = random.Random(seed), []
    texts = paragraphs()
    rng.shuffle(texts)
    for number, text in enumerate(texts[:count]):
        found, asked = spans(text, ANSWERS), []
        for kind, forms in QUESTIONS.items():
            answers = [span for span in found if span["label"] == kind]
            if len(answers) == 1:
                start, end = answers[0]["start"], answers[0]["end"]
                answer = {"text": text[start:end], "answer_start": start}
                asked.append({"id": f"{number}-{kind}", "question": rng.choice(forms), "answers": [answer]})
        if asked:
            articles.append({"title": str(number), "paragraphs": [{"context": text, "qas": asked}]})
    return {"version": "made from pydoc_data.topics", "data": articles}


def main(directory: str) -> None:
    out = Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) for row in entities()]
    (out / "entities.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = json.dumps(questions(), ensure_ascii=False, indent=1)
    (out / "questions.json").write_text(made + "\n", encoding="utf-8")
    print(f"{len(lines)} texts with entities in {out / 'entities.jsonl'}, questions in {out / 'questions.json'}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")
