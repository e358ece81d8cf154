"""The time of the tests."""

from __future__ import annotations

import time


class Clock:
    """Time that tests move.

    Args:
        now: seconds since 1970 at which it stands still; `None`: it runs with the real time, for whatever also depends on
            clocks that a test cannot move, such as a server's expiry or a signed form.

    Attributes:
        ahead: seconds by which it is ahead of that.
    """

    def __init__(self, now: float | None = 1_800_000_000.0) -> None:
        self._start = now
        self.ahead = 0.0

    def __call__(self) -> float:
        return (time.time() if self._start is None else self._start) + self.ahead

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self()

    @now.setter
    def now(self, value: float) -> None:
        if self._start is None:
            self.ahead = value - time.time()
        else:
            self._start = value - self.ahead
