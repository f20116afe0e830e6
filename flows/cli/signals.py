"""Ctrl-C and SIGTERM end a run within seconds and leave no Prefect server behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

GRACE_S = 4.0  # for a stage to leave its files in order; they are written atomically anyway
INTERRUPTED = 128 + signal.SIGINT
_came: list[int] = []


def handle_signals() -> None:
    """Install the handlers; for a process of our own, in its main thread."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: object) -> NoReturn:
    """Raise KeyboardInterrupt or SystemExit, and see to it that it gets through.

    A signal often reaches Prefect's temporary server too (the terminal sends Ctrl-C to both), and
    Prefect would then try for minutes to tell the dead server of the interruption.
    """
    _came.append(number)
    signal.signal(number, lambda *_: _give_up(number))  # who asks twice does not wait
    watchdog = threading.Timer(GRACE_S, _give_up, (number,))
    watchdog.daemon = True
    watchdog.start()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def status_of_signal() -> int:
    """The exit status if a signal has come, 0 if none has.

    A library may make some other error of the interruption, where it fell into its own work.
    """
    return 128 + _came[0] if _came else 0


def _give_up(number: int) -> None:
    print("llm4teach: interrupted", file=sys.stderr, flush=True)
    with suppress(Exception):
        module = sys.modules["prefect.server.api.server"]
        for server in list(module.SubprocessASGIServer._instances.values()):
            server.stop()
    os._exit(128 + number)
