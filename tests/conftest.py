"""Settings all tests share."""

import os

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # tests use no network

# How long an example takes says more about the machine than about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


# Files that take seconds each: `make test-fast` leaves them out.
SLOW = {
    "test_backend_cpu_attention",
    "test_backend_cuda",
    "test_benchmarks",
    "test_checking_curve",
    "test_checking_diagnose",
    "test_checking_functions",
    "test_checking_mutation",
    "test_checking_numeric",
    "test_cli",
    "test_data_docstrings",
    "test_data_workers",
    "test_docs",
    "test_examples",
    "test_fuzz",
    "test_metrics",
    "test_onnx_files",
    "test_onnx_rules",
    "test_parity",
    "test_parity_structure",
    "test_pretrained_checkpoint_files",
    "test_pretrained_checkpoint_pickles",
    "test_pretrained_checkpoint_report",
    "test_pretrained_checkpoint_safetensors",
    "test_pretrained_model",
    "test_pretrained_text_generation",
    "test_pytest_minigrad",
    "test_readme",
    "test_train_finetune",
    "test_train_plan",
    "test_train_run",
    "test_train_search",
    "test_train_trackers",
    "test_train_trainer",
    "test_train_verify",
    "test_tutorials",
}

# Questions of the catalogue that are put to each op in many ways: the quick ones find most mistakes.
LONG = {
    "test_a_kernel_is_what_the_op_means",
    "test_any_layout_in_memory",
    "test_numbers_of_16_bits_are_rounded_once",
    "test_one_tensor_in_several_slots",
    "test_a_gradient_is_new_or_is_what_came_in",
    "test_a_single_number",
    "test_a_single_number_has_one_axis",
    "test_broadcasting",
    "test_nothing_along_every_axis",
    "test_whole_numbers",
}


def is_slow(file):
    return file.stem in SLOW or file.parent.name == "parity"


def pytest_ignore_collect(collection_path, config):
    """Whole files that would be left out are not even read."""
    return True if config.option.markexpr == "not slow" and is_slow(collection_path) else None


def pytest_collection_modifyitems(items):
    for item in items:
        if is_slow(item.path) or getattr(item, "originalname", item.name) in LONG:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=[1, 3], ids=["1 core", "3 cores"])
def small_pieces(request, monkeypatch):
    """Many pieces, whatever the machine."""
    from minigrad.backend import Value, host
    from minigrad.backend.cpu import cores, products

    monkeypatch.setattr(cores, "CORES", request.param)
    monkeypatch.setattr(cores, "MAX_PIECE", 700)
    monkeypatch.setattr(cores, "MIN_SHARED", 1400)
    for name, kernel in host.kernels.items():
        if isinstance(kernel, Value):
            monkeypatch.setitem(host.kernels, name, kernel._replace(least=1400))
    monkeypatch.setattr(products, "MIN_SHARED_PRODUCT", 100)
    cores._helpers.cache_clear()
    yield
    cores._helpers.cache_clear()
