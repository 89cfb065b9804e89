"""Settings all tests share."""
import os

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"                           # tests use no network

settings.register_profile("patient", deadline=None)          # how long an example takes says more of the machine than of the code
settings.load_profile("patient")


@pytest.fixture(params=[1, 3], ids=["1 core", "3 cores"])
def small_pieces(request, monkeypatch):
    """Many pieces, whatever the machine."""
    from minigrad.backend.cpu import cores, products
    monkeypatch.setattr(cores, "CORES", request.param)
    monkeypatch.setattr(cores, "MAX_PIECE", 700)
    monkeypatch.setattr(cores, "MIN_SHARED", 1400)
    monkeypatch.setattr(products, "MIN_SHARED_PRODUCT", 100)
    cores._helpers.cache_clear()
    yield
    cores._helpers.cache_clear()
