"""The pytest plugin: a fixture that checks and counts, a marker that carries options, a summary; and nothing until it
is used.
"""

import subprocess
import sys

import pytest

pytest_plugins = "pytester"


@pytest.fixture
def run(pytester, request):
    """Run a test file with the plugin, be it installed or not."""

    def run(source, *options):
        pytester.makepyfile(source)
        known = request.config.pluginmanager.has_plugin("minigrad")
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", *(() if known else ("-p", "pytest_minigrad")), *options
        )

    return run


TESTS = """
    import numpy as np, pytest
    import minigrad as mg

    def test_right(gradcheck):
        assert gradcheck(mg.sin, np.ones(3))

    @pytest.mark.gradcheck(order=2)
    def test_right_to_second_order(gradcheck):
        report = gradcheck(mg.exp, np.ones(3))
        assert report.order == 2 and gradcheck(mg.exp, np.ones(3), order=1).order == 1

    def test_wrong(gradcheck):
        gradcheck(lambda x: mg.sin(x.detach()), np.ones(3))

    @pytest.mark.filterwarnings("ignore")
    def test_kink(gradcheck):
        gradcheck(mg.relu, np.zeros(1))

    def test_other():
        pass
"""


def test_checks_are_counted_and_summed_up(run):
    result = run(TESTS)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*gradient checks*",
            "5 checks, 1 wrong",
            "worst of those passed: 0.* of the estimated error (*)",
            "slowest: * s (*)",
            "wrong: <lambda>, cause: zero (*::test_wrong)",
            "kink: relu at input 0 at [[]0[]] (*::test_kink)",
        ]
    )
    result.stdout.fnmatch_lines([">       gradcheck(lambda x: mg.sin(x.detach()), np.ones(3))"])
    result.stdout.no_fnmatch_line("*def gradcheck(*")  # the failure is shown in the test, not in the checker


EVERYWHERE = """
    import numpy as np, pytest
    import minigrad as mg

    @pytest.fixture
    def checked():
        mg.gradcheck(mg.cos, np.ones(3))

    def test_direct(checked):
        mg.gradcheck(mg.sin, np.ones(3))

    @pytest.mark.filterwarnings("ignore")
    def test_kink():
        mg.gradcheck(mg.relu, np.zeros(1))

    def test_expected_to_be_wrong():
        with pytest.raises(mg.checking.GradientError):
            mg.gradcheck(lambda x: mg.sin(x.detach()), np.ones(3))

    def test_wrong():
        mg.gradcheck(lambda x: mg.sin(x.detach()), np.ones(3), name="mine")
"""
SUMMARY = [
    "*gradient checks*",
    "5 checks, 1 wrong",
    "wrong: mine, cause: zero (*::test_wrong)",
    "kink: relu at input 0 at [[]0[]] (*::test_kink)",
]


def test_checks_without_the_fixture_are_counted_too(run):
    result = run(EVERYWHERE)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(SUMMARY)


def test_the_workers_of_xdist_are_asked(pytester, request):
    pytest.importorskip("xdist")
    pytester.makepyfile(EVERYWHERE)
    known = request.config.pluginmanager.has_plugin("minigrad")
    result = pytester.runpytest_subprocess("-n", "2", *(() if known else ("-p", "pytest_minigrad")))
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(SUMMARY)


def test_the_fixture_may_be_asked_for_and_the_marker_take_options_as_a_call_does(run):
    result = run("""
        import numpy as np, pytest
        import minigrad as mg

        def test_asked_for(request):
            assert request.getfixturevalue("gradcheck")(mg.exp, np.ones(3)).order == 1

        @pytest.mark.gradcheck(2)
        def test_positional(gradcheck):
            assert gradcheck(mg.exp, np.ones(3)).order == 2
            assert gradcheck(mg.exp, np.ones(3), order=1).order == 1

        @pytest.mark.gradcheck(ordre=2)
        def test_unknown(gradcheck):
            pass
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*the marker gradcheck of *::test_unknown: *ordre*type the options of mg.gradcheck*"])


def test_the_marker_selects(run):
    run(TESTS, "-m", "gradcheck", "--strict-markers").assert_outcomes(passed=3, failed=1, deselected=1)
    result = run(TESTS, "-k", "test_other")
    result.assert_outcomes(passed=1, deselected=4)
    result.stdout.no_fnmatch_line("*gradient checks*")


def test_loading_the_plugin_does_not_load_minigrad():
    code = "import sys, pytest_minigrad; sys.exit('minigrad' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
