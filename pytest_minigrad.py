"""A pytest plugin: the fixture `gradcheck`, and a summary of all gradient checks at the end of the run.

It is outside the package so that pytest can load it without importing minigrad, which happens when a test first checks
a gradient.  Checks through the fixture and through `mg.gradcheck` are both counted.  Results are attached to the report
of the test, as plain numbers and strings, so that they also arrive from the workers of pytest-xdist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

_FOUND = pytest.StashKey[list]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "gradcheck(**options): a test that checks gradients (any that uses the fixture gradcheck "
        "is marked so); the options, such as order=2, are defaults for its calls of gradcheck",
    )


@pytest.hookimpl(tryfirst=True)  # before -m gradcheck selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gradcheck" in getattr(item, "fixturenames", ()) and item.get_closest_marker("gradcheck") is None:
            item.add_marker("gradcheck")


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`minigrad.gradcheck`, with the options of the test's marker as defaults."""
    from inspect import signature

    from minigrad.checking import gradcheck as check

    marker = request.node.get_closest_marker("gradcheck")
    defaults = {}
    if marker is not None:
        try:  # gradcheck(2) is order=2, as in a call
            defaults = signature(check).bind_partial(None, None, *marker.args, **marker.kwargs).arguments
        except TypeError as error:
            raise pytest.UsageError(
                f"the marker gradcheck of {request.node.nodeid}: {error}; type the options of mg.gradcheck, "
                "@pytest.mark.gradcheck(order=2)"
            ) from None
    defaults = {name: value for name, value in defaults.items() if name not in ("f", "inputs")}

    def with_defaults(f: Callable, inputs: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        return check(f, inputs, **defaults | options)

    return with_defaults


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_FOUND] = []
    running.append(item.stash[_FOUND])
    yield
    running.pop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    found = item.stash.get(_FOUND, [])
    outcome.get_result().gradient_checks = [*found]
    found.clear()  # the report of the next phase of the test holds only its own checks


running: list[list[dict]] = []  # the results of the test that is running; the innermost is last


def note(result: Any) -> None:
    """Record the result of a check, a Report or a GradientError; minigrad calls this."""
    if running:
        wrong = isinstance(result, Exception)
        running[-1].append(
            {
                "name": result.name,
                "wrong": wrong,
                "cause": result.cause or "no pattern" if wrong else "",
                "worst": 0.0 if wrong else result.worst,
                "seconds": 0.0 if wrong else result.seconds,
                "kinks": "" if wrong else "; ".join(result.kinks),
            }
        )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [
        report for group in terminalreporter.stats.values() for report in group if hasattr(report, "gradient_checks")
    ]
    found = [(report, check) for report in reports for check in report.gradient_checks]
    if not found:
        return
    # A wrong gradient in a test that passed was expected.
    wrong = [(report, check) for report, check in found if check["wrong"] and report.failed]
    passed = [(report.nodeid, check) for report, check in found if not check["wrong"]]
    terminalreporter.section("gradient checks")
    terminalreporter.line(f"{len(found)} check{'s' * (len(found) != 1)}, {len(wrong)} wrong")
    if passed:
        test, check = max(passed, key=lambda pair: pair[1]["worst"])
        terminalreporter.line(
            f"worst of those passed: {check['worst']:.1g} of the estimated error ({check['name']}, {test})"
        )
        test, check = max(passed, key=lambda pair: pair[1]["seconds"])
        terminalreporter.line(f"slowest: {check['seconds']:.2f} s ({check['name']}, {test})")
    for report, check in wrong:
        terminalreporter.line(f"wrong: {check['name']}, cause: {check['cause']} ({report.nodeid})")
    kinks = [f"kink: {check['name']} at {check['kinks']} ({test})" for test, check in passed if check["kinks"]]
    for line in dict.fromkeys(kinks):
        terminalreporter.line(line)
