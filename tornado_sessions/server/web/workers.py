"""``Workers``: the worker processes of one server. They are started, replaced when they die, and stopped together.

The parent process answers no requests. It must not know what its workers do.
"""

from __future__ import annotations

import logging
import mmap
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socketpair
from typing import NoReturn

__all__ = ["STOP_SIGNALS", "StopSignals", "Workers", "end_at_once"]

logger = logging.getLogger("tornado_sessions.server")

# SIGHUP: the terminal of the server was closed.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Seconds until a worker that died is replaced. They double with each death, unless the worker had run for longer than ``_STABLE``.
_BACKOFF, _MAX_BACKOFF, _STABLE = 0.2, 30.0, 60.0
# Seconds until a worker that has not ended gets SIGTERM again.
_SIGNAL_AGAIN = 1.0


class StopSignals:
    """The signals that have asked this process to stop.

    They are collected from the start, so that none is lost before somebody waits for it.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        #: Whether there may be connections, which have to be answered. Until then, a signal ends the process at once.
        self.must_drain = False
        self._process = os.getpid()
        # Memory that the workers see too.
        self._is_for_all = mmap.mmap(-1, 1)
        for number in STOP_SIGNALS:
            # nohup ignores SIGHUP.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._receive)

    @property
    def are_for_all(self) -> bool:
        """Whether the whole server was asked to stop, rather than one worker alone. Workers may read this, too."""
        return self._is_for_all[0] != 0

    def _receive(self, number: int, _frame: object) -> None:
        if not self.must_drain:
            end_at_once(number)
        if os.getpid() == self._process:
            self._is_for_all[0] = 1
        self.received.append(number)


class Workers:
    """The workers of this process.

    Args:
        number: how many to keep running.
        work: what each worker does; called with the worker's number, from 0, which a replacement inherits. When it returns or
            raises, the process ends. SIGTERM asks it to return. SIGINT and SIGHUP are ignored: a terminal sends them to the
            workers too, and the parent passes each stop on.
        signals: those that stop this process and its workers.
        patience: how long to wait for the workers after a stop, in seconds. Later ones are killed.
    """

    def __init__(self, number: int, work: Callable[[int], None], signals: StopSignals, patience: float) -> None:
        self._work = work
        self._patience = patience
        self._running: dict[int, _Slot] = {}
        self._slots = [_Slot() for _ in range(number)]
        self._stops = signals.received

    def run(self, on_stop: Callable[[], None]) -> int:
        """Run until a signal of ``STOP_SIGNALS``, then stop all workers. A second signal kills them and this process at once.

        Args:
            on_stop: called when the first signal arrives, before it is passed on.

        Returns:
            The exit code: 0 if each worker has stopped as asked, otherwise 1; after a second signal, what shells show for it.
        """
        with _waking() as wait:
            # Start them before looking for a signal: connections are already waiting for a worker to answer them.
            due = self._start_due()
            while not self._stops:
                wait(due)
                self._reap()
                due = self._start_due()
            on_stop()
            deadline = time.monotonic() + self._patience
            is_clean = self._reap()
            while self._running and len(self._stops) == 1 and time.monotonic() < deadline:
                # Again and again: Python forgets a signal that arrives while a new process starts.
                self._send(signal.SIGTERM)
                wait(_SIGNAL_AGAIN)
                is_clean &= self._reap()
            if self._running:
                is_clean = False
                self._send(signal.SIGKILL)
        if len(self._stops) > 1:
            return 128 + self._stops[-1]
        return 0 if is_clean else 1

    def _start_due(self) -> float:
        """Start each worker that is due. Return the seconds until the next one is."""
        now = time.monotonic()
        idle = [slot for slot in self._slots if slot not in self._running.values()]
        for slot in idle:
            if slot.due <= now:
                self._running[self._fork(self._slots.index(slot))] = slot
                slot.started = now
        return max(0.0, min((slot.due - now for slot in idle if slot.due > now), default=_MAX_BACKOFF))

    def _fork(self, place: int) -> int:
        pid = os.fork()
        if pid == 0:
            self._be_a_worker(place)
        return pid

    def _be_a_worker(self, place: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._work(place)
            code = 0
        except Exception:
            logger.exception("a worker process has failed")
        finally:
            sys.stdout.flush()
            logging.shutdown()
            # Not ``sys.exit``: the frames of the parent below this one must not continue in its child.
            os._exit(code)

    def _reap(self) -> bool:
        """Forget the workers that have ended. Return whether each has stopped as asked."""
        is_clean = True
        for pid, slot in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self._running[pid]
            code = os.waitstatus_to_exitcode(status)
            # By SIGTERM end only those that were done: their event loop, which handled it, is closed.
            if self._stops and code in (0, -signal.SIGTERM):
                continue
            is_clean = False
            pause = slot.died()
            how = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
            then = "" if self._stops else f"; another one starts in {pause:g} s"
            logger.error("worker process %d %s%s", pid, how, then)
        return is_clean

    def _send(self, number: signal.Signals) -> None:
        for pid in self._running:
            # Not reaped yet, so the number cannot belong to another process.
            os.kill(pid, number)


class _Slot:
    """The place of one worker, which keeps its history when it is replaced."""

    def __init__(self) -> None:
        self.started = self.due = 0.0
        self._pause = _BACKOFF

    def died(self) -> float:
        """Plan the next worker. Return the seconds until it starts."""
        now = time.monotonic()
        pause = _BACKOFF if now - self.started > _STABLE else self._pause
        self._pause = min(2 * pause, _MAX_BACKOFF)
        self.due = now + pause
        return pause


@contextmanager
def _waking() -> Iterator[Callable[[float], None]]:
    """Yield a function that waits for a signal, at most for a number of seconds."""
    reader, writer = socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        # Python writes each signal's number here, so that one that comes just before the wait still ends it.
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

        def wait(seconds: float) -> None:
            if select.select([reader], [], [], max(0.0, seconds))[0]:
                reader.recv(4096)

        try:
            yield wait
        finally:
            signal.set_wakeup_fd(-1)


def end_at_once(number: int) -> NoReturn:
    """End this process because of a signal, with the exit code that shells show for it."""
    # Not by the signal itself: the first process of a container ignores signals that it does not handle.
    os._exit(128 + number)
