"""A measure of work for tests of cost: instructions executed, which no clock and no load of the machine changes."""

import sys
from collections.abc import Callable


def work(function: Callable[[], object]) -> int:
    """How many bytecode instructions of Python `function()` executes.

    What happens inside C functions is not counted.
    """
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count
