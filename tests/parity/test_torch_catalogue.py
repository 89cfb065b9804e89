"""Every op, module, optimiser and schedule of PyTorch's own catalogue that minigrad has: equal to torch's, or refused."""
import pytest

pytest.importorskip("torch")

from torch_catalogue import KINDS, KNOWN  # noqa: E402


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_is_equal_or_refused(kind):
    rows = list(KINDS[kind]())
    assert sum(row.equal for row in rows) > 20               # that all is refused would be no comparison
    wrong = {row.name: dict(row.wrong) for row in rows if row.wrong}
    assert {name: found for name, found in wrong.items() if name not in KNOWN} == {}
    assert {row.name for row in rows} & set(KNOWN) <= set(wrong), "these are right now: take them from KNOWN"
