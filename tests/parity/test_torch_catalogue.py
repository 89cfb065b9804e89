"""Every op, module, optimiser and schedule of PyTorch's catalogue that minigrad has equals torch's or is refused."""

from functools import cache

import pytest

pytest.importorskip("torch")

from torch_catalogue import DIFFERENCES, KINDS, KNOWN  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@cache
def rows(kind):
    return list(KINDS[kind]())


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_is_equal_or_refused(kind):
    assert sum(row.equal for row in rows(kind)) > 20  # that all is refused would be no comparison
    wrong = {row.name: dict(row.wrong) for row in rows(kind) if row.wrong}
    assert {name: found for name, found in wrong.items() if name not in KNOWN} == {}
    assert {row.name for row in rows(kind)} & set(KNOWN) <= set(wrong), "these are right now: take them from KNOWN"


def test_what_differs_on_purpose_does_differ():
    found = {why for kind in KINDS for row in rows(kind) for why in row.differs}
    assert {why for _, _, why in DIFFERENCES} - found == set()
