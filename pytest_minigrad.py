"""A pytest plugin: the fixture `gradcheck`, which checks gradients, and at the end of the run a line that says how it went.

It stands outside the package so that pytest can load it without loading minigrad: that happens when a test first checks.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

_REPORTS = pytest.StashKey[list]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORTS] = []
    config.addinivalue_line("markers", "gradcheck(**options): a test that checks gradients (any that uses the fixture gradcheck "
                                       "is marked so); the options, such as order=2, are defaults for its calls of gradcheck")


@pytest.hookimpl(tryfirst=True)                 # before -m gradcheck selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gradcheck" in getattr(item, "fixturenames", ()) and item.get_closest_marker("gradcheck") is None:
            item.add_marker("gradcheck")


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`minigrad.gradcheck`, with the options of the test's marker as defaults; what it finds is counted for the summary."""
    from minigrad.checking import GradientError
    from minigrad.checking import gradcheck as check
    marker = request.node.get_closest_marker("gradcheck")

    def counted(f: Callable, inputs: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        try:
            report = check(f, inputs, **{**marker.kwargs, **options})
        except GradientError as error:
            request.config.stash[_REPORTS].append((request.node.nodeid, error))
            raise
        request.config.stash[_REPORTS].append((request.node.nodeid, report))
        return report
    return counted


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    found = config.stash[_REPORTS]
    if not found:
        return
    passed = [(test, report) for test, report in found if not isinstance(report, Exception)]
    terminalreporter.section("gradient checks")
    terminalreporter.line(f"{len(found)} check{'s' * (len(found) != 1)}, {len(found) - len(passed)} wrong")
    if passed:
        test, report = max(passed, key=lambda pair: pair[1].worst)
        terminalreporter.line(f"worst of those passed: {report.worst:.2f} of the estimated error ({report.name}, {test})")
        test, report = max(passed, key=lambda pair: pair[1].seconds)
        terminalreporter.line(f"slowest: {report.seconds:.2f} s ({report.name}, {test})")
    for test, report in found:
        if isinstance(report, Exception):
            terminalreporter.line(f"wrong: {report.name}, cause: {report.cause or 'no pattern'} ({test})")
        elif report.kinks:
            terminalreporter.line(f"kink: {report.name} at {'; '.join(report.kinks)} ({test})")
