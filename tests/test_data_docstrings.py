"""What counts as a docstring of a package, on a small library made here and on the machine's own."""

from collections import Counter

import pytest

from minigrad.data.docstrings import stdlib_docstrings
from minigrad.data.readers import Example
from minigrad.data.split import fold


@pytest.fixture
def library(tmp_path):
    files = {
        "pets/__init__.py": '"""All about\n   cats and   dogs."""\nraise SystemExit("never imported")',
        "pets/cat.py": 'class Cat:\n  """A cat that purrs loudly."""\n'
        '  async def purr(self):\n    """Purr until it is fed."""\n',
        "pets/dog.py": 'def f():\n  """Too short."""\ndef g():\n'
        '  """a cat THAT purrs loudly."""\n  """Not a docstring."""',
        "pets/test/test_cat.py": '"""Tests of cats and dogs."""',
        "cars.py": '"""Return the name of it."""\ndef drive():\n    """Drive until it is empty."""',
        "boats.py": 'def f():\n    """return the  name of it."""',
        "_private.py": '"""Nobody should see these words."""',
        "site-packages/other.py": '"""Not of the standard library."""',
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


def test_docstrings_of_a_small_library(library):
    assert stdlib_docstrings(1, root=library) == [
        Example("Drive until it is empty.", "cars"),
        Example("All about cats and dogs.", "pets"),
        Example("A cat that purrs loudly.", "pets"),
        Example("Purr until it is fed.", "pets"),
    ]


def test_choosing_classes(library):
    assert {e.label for e in stdlib_docstrings(2, root=library)} == {"pets"}
    assert {e.label for e in stdlib_docstrings(classes=["cars"], root=library)} == {"cars"}
    few = stdlib_docstrings(1, max_per_class=2, root=library)
    assert Counter(e.label for e in few) == {"cars": 1, "pets": 2} and few == stdlib_docstrings(
        1, max_per_class=2, root=library
    )
    with pytest.raises(ValueError, match="no package 'planes' with docstrings in .*; choose among boats, cars, pets"):
        stdlib_docstrings(classes=["planes"], root=library)
    with pytest.raises(ValueError, match="no package in .* has 120 docstrings; lower min_per_class"):
        stdlib_docstrings(root=library)


def test_the_standard_library_is_a_task_of_its_size():
    examples = stdlib_docstrings()
    counts = Counter(e.label for e in examples)
    assert len(counts) >= 8 and min(counts.values()) >= 120 and 2000 <= len(examples) <= 6000
    assert {"asyncio", "email", "logging", "xml"} <= set(counts)
    assert len({fold(e.text) for e in examples}) == len(examples)
