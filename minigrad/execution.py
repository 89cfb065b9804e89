"""How ops run: whether they are recorded, and who observes them.  This is the only ambient state of the package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from functools import update_wrapper
from typing import Any, NamedTuple

from .writes import stamp

_recording: ContextVar[bool | Mode] = ContextVar("recording", default=True)
recording = _recording.get  # whether the tape records: True, False, or a Mode
_entered: ContextVar[tuple] = ContextVar("entered", default=())  # the open `record` blocks, and the modes before them


class Mode(NamedTuple):
    """How ops run while their inputs are cast (amp.py) or they are observed (insight/recording.py)."""

    on: bool = True  # whether the tape records
    kernels: bool = True  # whether ops may use fused kernels
    given: Callable[[Any, tuple], tuple] = lambda op, inputs: inputs  # the inputs to use instead of those given
    note: Callable[..., None] = lambda node, op, inputs, options, y: None  # called after each op; node may be None
    writes: Callable[[Any], None] = stamp  # called before an array is written in place
    draws: Callable[[Any, Any], Any] = lambda rng, generator: generator  # called before random numbers are drawn

    def __bool__(self) -> bool:
        return self.on


def mode() -> Mode:
    """The present mode; `record(lambda here: here._replace(...))` changes a field of it for a block."""
    here = recording()
    return here if isinstance(here, Mode) else Mode(here)


def writing(array: Any) -> None:
    """Call this before writing into an array in place: see `stamp`."""
    mode().writes(array)


set_mode = _recording.set  # sets the mode from here on; `switch_back` with its result restores the previous one
switch_back = _recording.reset


class record:
    """Run the body with the tape switched on or off, or in another Mode, which may be a function of the present one.

    It is also a decorator for functions, generators and coroutines.  It is reusable and reentrant.
    """

    def __init__(self, how: bool | Mode | Callable[[Mode], Mode]):
        self.how = how

    def __enter__(self) -> None:
        _entered.set((*_entered.get(), (self, recording())))
        how, here = self.how, recording()
        if isinstance(how, bool):
            set_mode(how if isinstance(here, bool) else here._replace(on=how))
        else:
            set_mode(how if isinstance(how, Mode) else how(mode()))

    def __exit__(self, *error: Any) -> None:
        blocks = list(_entered.get())
        last = next((i for i in reversed(range(len(blocks))) if blocks[i][0] is self), None)
        if last is None:  # a generator was closed from another context
            return
        before = blocks.pop(last)[1]
        if last == len(blocks):
            _recording.set(before)
        else:  # it was closed while a block that was entered later is open
            blocks[last] = blocks[last][0], before
        _entered.set(tuple(blocks))

    def __call__(self, function: Callable) -> Callable:
        how, flags = self.how, getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & 0x20:  # a generator function

            def generator(*args: Any, **kwargs: Any) -> Any:
                return (yield from _Steps(how, function(*args, **kwargs)))

            return update_wrapper(generator, function)
        elif flags & 0x80:  # async def

            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                return await _Steps(how, function(*args, **kwargs))

            return update_wrapper(coroutine, function)
        elif flags & 0x200:  # an asynchronous generator function

            async def stream(*args: Any, **kwargs: Any) -> AsyncIterator:
                steps, sent = function(*args, **kwargs), None
                try:
                    while True:
                        sent = yield await _Steps(how, steps.asend(sent))
                except StopAsyncIteration:
                    return
                finally:
                    await steps.aclose()

            return update_wrapper(stream, function)

        def front(*args: Any, **kwargs: Any) -> Any:
            with record(how):
                return function(*args, **kwargs)

        return update_wrapper(front, function)


class _Steps:
    """A generator or coroutine that runs in a mode of its own, which is left whenever it yields or awaits."""

    def __init__(self, how: Any, steps: Any):
        self.how, self.steps = how, steps

    def __iter__(self) -> _Steps:
        return self

    __await__ = __iter__

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        with record(self.how):
            return self.steps.send(value)

    def throw(self, *error: Any) -> Any:
        with record(self.how):
            return self.steps.throw(*error)

    def close(self) -> None:
        with record(self.how):
            self.steps.close()


def is_grad_enabled() -> bool:
    """Whether ops are recorded, so that gradients can be computed."""
    return bool(recording())


def no_grad() -> record:
    """Compute without recording: `with mg.no_grad(): ...`, or `@mg.no_grad()` above a function."""
    return record(False)


def enable_grad() -> record:
    """Record again inside a `no_grad` block."""
    return record(True)
