"""A circuit breaker: after many failures in a row nobody asks for a while, then one question does.

A server that is being started again is not buried in questions, and one that is gone is found out
in bounded time, however many states wait.
"""

from __future__ import annotations

import asyncio
import time

THRESHOLD = 20  # failures in a row
RESTS_S = (5.0, 10.0, 20.0, 40.0, 60.0)  # before each probe; after the last one it is over
_GLANCE_S = 0.05


class CircuitOpenError(Exception):
    """The server failed again after every rest."""


class CircuitBreaker:
    """One for all the questions that go to a server; used in one event loop at a time."""

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._rests = 0
        self._not_before = 0.0  # monotonic seconds
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether questions wait for a probe."""
        return self._rests > 0

    async def admit(self, stop: asyncio.Event) -> bool:
        """Wait until a question may go out, at once if nothing is wrong; return if it is a probe.

        Returns early when ``stop`` is set.

        Raises:
            CircuitOpenError: the last probe failed.
        """
        while not stop.is_set():
            if self._rests > len(RESTS_S):
                raise CircuitOpenError
            wait = self._not_before - time.monotonic()
            if wait > 0:
                await pause(wait, stop)
            elif not self.is_open:
                return False
            elif not self._probing:
                self._probing = True
                return True
            else:
                await pause(_GLANCE_S, stop)
        return False

    def succeeded(self) -> None:
        """The server has answered: all may ask."""
        self._failures, self._rests, self._probing = 0, 0, False

    def failed(self, probe: bool) -> None:
        """The server has not answered this question, or not sensibly."""
        self._failures += 1
        if probe or (self._failures >= THRESHOLD and not self.is_open):
            self._probing = False
            self._rests += 1
            if self._rests <= len(RESTS_S):
                self._not_before = time.monotonic() + RESTS_S[self._rests - 1]

    def wait(self, seconds: float) -> None:
        """Let nobody ask for so long: the server has said when to come again."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not once ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
