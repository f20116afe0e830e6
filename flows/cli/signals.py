"""Ctrl-C and SIGTERM end a run within seconds and leave no Prefect server running."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

GRACE_S = 4.0  # for a stage to end by itself; files are written atomically in any case
INTERRUPTED = 128 + signal.SIGINT
_received: list[int] = []  # signals, in order


def handle_signals() -> None:
    """Install the handlers; call it in the main thread of a process that runs one command.

    What is ignored stays so: a script's job in the background is not meant by Ctrl-C.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: object) -> NoReturn:
    """Raise KeyboardInterrupt or SystemExit, and exit after `GRACE_S` if that has no effect.

    A signal often reaches Prefect's temporary server, too (the terminal sends Ctrl-C to both), and
    Prefect would then try for minutes to report the interruption to the dead server.
    """
    _received.append(number)
    signal.signal(number, lambda *_: _give_up(number))  # a second signal exits at once
    watchdog = threading.Timer(GRACE_S, _give_up, (number,))
    watchdog.daemon = True
    watchdog.start()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def status_of_signal() -> int:
    """Return the exit status of the first signal; 0 if there was none.

    A library that is interrupted in its own work may raise some other error instead.
    """
    return 128 + _received[0] if _received else 0


def _give_up(number: int) -> None:
    print("llm4teach: interrupted", file=sys.stderr, flush=True)
    with suppress(Exception):
        module = sys.modules["prefect.server.api.server"]
        for server in list(module.SubprocessASGIServer._instances.values()):
            server.stop()
    os._exit(128 + number)
