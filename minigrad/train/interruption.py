"""Ctrl-C and SIGTERM in a training run: the current step is finished and saved, and a message says how to resume."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

SIGNALS = signal.SIGINT, signal.SIGTERM


class Interruption:
    """In the block, the first Ctrl-C or SIGTERM is only recorded in `signal`; a second one acts as usual.

    Python delivers signals to the main thread only, so in another thread nothing is changed.
    """

    def __init__(self):
        self.signal: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.note) for number in SIGNALS}
        return self

    def note(self, number: int, frame: Any) -> None:
        self.signal = number
        self.restore()
        print("\nThe step is finished and saved first; interrupt again to stop at once", file=sys.stderr, flush=True)

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self.before = {}

    def __exit__(self, *_: Any) -> None:
        self.restore()

    def stop(self, told: str) -> None:
        """End the run with a message: KeyboardInterrupt after Ctrl-C, SystemExit(143) after SIGTERM."""
        if self.signal == signal.SIGTERM:
            print(f"{told}, or on the command line --resume true", file=sys.stderr, flush=True)
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt(told)
