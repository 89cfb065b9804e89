"""A model directory as a service: `minigrad serve DIR` answers JSON over HTTP, and has a page to try it in a browser.

What each file is for, in reading order: `limits.py` says what a request may ask for, `requests.py` makes examples of
its JSON, `batching.py` answers what arrives together as one batch, `measures.py` counts, `app.py` joins these to the
addresses of the service, `connection.py` is a client's connection, and `server.py` begins and stops.
"""

from __future__ import annotations

import os
from typing import Any

from .limits import Limits

__all__ = ["Limits", "serve"]


def serve(
    model: str | os.PathLike,
    *,
    task: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    batch_size: int = 32,
    timeout_graceful_shutdown: int = 8,
    **options: Any,
) -> None:
    """Serve the model of a directory over HTTP until the process is told to stop, by SIGTERM or Ctrl-C.

        serve("outputs/mine")
        # curl --json '{"inputs": "Open a socket."}' http://127.0.0.1:8000/text-classification

    What was accepted by then is answered, as far as `timeout_graceful_shutdown` seconds allow.

    Args:
        model: what `finetune` wrote.  It is read once, and what becomes of its files afterwards does not matter.
        task: one of `minigrad.tasks.TASKS`, or "feature-extraction"; None for what the model was fine-tuned for.
        host: the address to listen at.  The default is for programs on this machine alone; "0.0.0.0" is for all that
            can reach it, and there is neither encryption nor a password.
        port: 0 for any that is free.
        batch_size: how many inputs the model is given at a time, at most.
        timeout_graceful_shutdown: seconds.
        options: those of `Limits`, such as max_texts=8, and of the task, such as max_length=64.

    Raises:
        OSError: the port is in use, or the host is not this machine's.
        FileNotFoundError, ValueError: as `pipeline` does, and for a model whose answers are not finite.
        ImportError: starlette or uvicorn, the extra "serve", is not installed.
    """
    try:
        from .server import run
    except ImportError as error:
        raise ImportError(
            f'a service needs starlette and uvicorn ({error}): pip install "minigrad-learn[serve]"'
        ) from None
    run(model, task, host, port, batch_size, timeout_graceful_shutdown, options)
