"""``Metrics``: what Prometheus reads: requests, store calls, events and the state of the processes.

Worker processes share their numbers through files in a folder, so each of them answers for all. It must not know handlers,
sessions or stores; callers report what happened.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
import shutil
import tempfile
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

import tornado
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from tornado_sessions import __version__
from tornado_sessions.background import BackgroundLoop
from tornado_sessions.opened_store import OPERATIONS, StoreCall

__all__ = ["EVENTS", "Metrics", "shared_by_processes"]

#: Names of the counted events.
EVENTS = ("sign-ins", "failures", "ended")
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX, _LOCK = "tornado_sessions-", "lock"
_METHODS = ("GET", "HEAD", "POST", "DELETE", "other")
_STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
#: The reasons of ``Load.refused`` that every reading has; further ones appear with their first case.
_REFUSED = ("busy", "connection", "connection closed for a new one", "too slow")
#: How the values of several processes become one, by metric of the process.
_PROCESS = {
    "process_virtual_memory_bytes": "livesum",
    "process_resident_memory_bytes": "livesum",
    "process_open_fds": "livesum",
    "process_max_fds": "livemin",
    "process_start_time_seconds": "livemin",
}
#: Seconds between two measurements of the event loop, and how many there are in a round.
_TICK, _TICKS = 0.1, 10


@contextmanager
def shared_by_processes() -> Iterator[None]:
    """Share the metrics of this process and of those that it forks inside the block, through files in a temporary folder.

    The folder is removed at the end of the block, by the process that made it. ``PROMETHEUS_MULTIPROC_DIR`` chooses another
    folder, which is kept.
    """
    if os.environ.get(_FOLDER):
        yield
        return
    _remove_stale_folders()
    folder, owner = tempfile.mkdtemp(prefix=_PREFIX), os.getpid()
    # The kernel frees the lock when the last process that shares it is dead, however it died.
    lock = os.open(Path(folder, _LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.environ[_FOLDER] = folder
    # prometheus_client reads the variable when it is imported, which may be earlier than this.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if os.getpid() == owner:
            values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]
            del os.environ[_FOLDER]
            values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _remove_stale_folders() -> None:
    """Remove what servers have left that were killed with all their workers: folders of ours whose lock nobody holds."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        folder = lock.parent
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def be_process(name: str) -> None:
    """Continue the counts of an earlier process of this name, so that the folder does not grow each time a process dies.

    Its gauges, such as open connections, are forgotten. No two processes may have the same name at the same time.
    """
    mark_process_dead(name)  # type: ignore[no-untyped-call]
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of a server. The first reading has every series, so that a rate can be computed for the first event, too.

    Args:
        backend: the name of the session store.
    """

    def __init__(self, backend: str) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._histogram(
            "http_request_duration_seconds", "Duration of requests", ("method", "status"), _REQUEST_BUCKETS
        )
        self._calls = self._histogram(
            "store_call_duration_seconds", "Duration of calls of the session store", ("operation",), _STORE_BUCKETS
        )
        self._batches = self._histogram(
            "store_batch_size", "Sessions loaded or saved by one call", ("operation",), _BATCH_BUCKETS
        )
        self._failures = self._counter(
            "store_errors", "Sessions that the store did not load or change because it failed", ("operation",)
        )
        self._events = self._counter("events", "Sign-ins, failed sign-ins and ended sessions", ("name",))
        self._pruned = self.gauge("last_prune_timestamp_seconds", "When expired sessions were last removed", "max")
        self._refused = self._counter("refused", "Connections and requests that were refused or cut", ("reason",))
        self._refused_seen: Tally[str] = Tally()
        #: How many were refused since the process started, by reason; read about once a second.
        self.refused: Tally[str] = Tally()
        self._lag = self._histogram("event_loop_lag_seconds", "Delay of timers of the event loop", (), _LAG_BUCKETS)
        self._cpu = Counter("process_cpu_seconds", "CPU time of the processes", registry=self._registry)
        self._process = {
            name: Gauge(name, "See prometheus_client", registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]
            for name, mode in _PROCESS.items()
        }
        self._build = self.gauge("build_info", "Versions", "max", ("version", "python", "tornado", "store"))
        self._collector = ProcessCollector(registry=None)
        self._cpu_seen = 0.0
        #: Whether the store answered when the metrics were last read.
        self.store_up = self.gauge("store_up", "Whether the session store answers", "livemostrecent")
        self.live = self.gauge("live", "Active sessions (may be a lower bound)", "livemostrecent")
        self.jobs = self.gauge("jobs_running", "Jobs that are not finished", "livemostrecent")
        # Monitoring remembers these: an attacker who changes the store cannot make them fall unseen.
        self.audit_head = self.gauge("audit_head", "Number of the newest audit entry", "livemostrecent")
        self.audit_entries = self.gauge("audit_entries", "Audit entries that are kept", "livemostrecent")
        self.audit_faults = self.gauge("audit_faults", "Faults at the end of the audit log", "livemostrecent")
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        self._sampling = BackgroundLoop(self._sample, 0.0, "the event loop is not measured")
        self._backend = backend

    def _create_series(self) -> None:
        for method in _METHODS:
            for status in _STATUSES:
                self._requests.labels(method, status)
        for operation in OPERATIONS:
            self._calls.labels(operation)
            self._failures.labels(operation)
        for operation in ("load", "save"):
            self._batches.labels(operation)
        for name in EVENTS:
            self._events.labels(name)
        for reason in _REFUSED:
            self._refused.labels(reason)
        self._build.labels(__version__, platform.python_version(), tornado.version, self._backend).set(1)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"tornado_sessions_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"tornado_sessions_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, mode: str = "livesum", labels: tuple[str, ...] = ()) -> Gauge:
        """Return a new gauge.

        Args:
            name: without the prefix ``tornado_sessions_``.
            text: the description.
            mode: how the values of several processes become one; see "multiprocess mode" of prometheus_client.
            labels: the names of its labels.
        """
        return Gauge(
            f"tornado_sessions_{name}", text, labels, registry=self._registry, multiprocess_mode=mode  # type: ignore[arg-type]
        )  # fmt: skip

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read about once a second; the values of all processes are added up."""
        self._watched.append((self.gauge(name, text), read))

    # --- what happened -------------------------------------------------------------------------------------------

    def request(self, method: str, status: int, seconds: float) -> None:
        """Count a finished request."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, f"{min(max(status // 100, 1), 5)}xx").observe(seconds)

    def store_call(self, call: StoreCall) -> None:
        """Count a call of the store. A callback for ``Sessions.measure``."""
        self._calls.labels(call.operation).observe(call.seconds)
        if call.operation in ("load", "save"):
            self._batches.labels(call.operation).observe(call.items)
        if call.failed:
            self._failures.labels(call.operation).inc(call.failed)
        elif call.operation == "expire":
            self._pruned.set_to_current_time()

    def event(self, name: str, times: int = 1) -> None:
        """Count events, such as sign-ins."""
        self._events.labels(name).inc(times)

    # --- background work -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start to measure this process."""
        self.refresh()
        self._sampling.start()

    async def close(self) -> None:
        """Stop measuring."""
        await self._sampling.stop()

    async def _sample(self) -> None:
        for _ in range(_TICKS):
            start = perf_counter()
            await asyncio.sleep(_TICK)
            self._lag.observe(max(0.0, perf_counter() - start - _TICK))
        self.refresh()

    def refresh(self) -> None:
        """Read the watched gauges and the state of this process."""
        for gauge, read in self._watched:
            gauge.set(read())
        for reason, times in (self.refused - self._refused_seen).items():
            self._refused.labels(reason.partition(":")[0]).inc(times)
        self._refused_seen = self.refused.copy()
        for family in self._collector.collect():
            for sample in family.samples:
                if sample.name in self._process:
                    self._process[sample.name].set(sample.value)
                elif sample.name == "process_cpu_seconds_total":
                    self._cpu.inc(max(0.0, sample.value - self._cpu_seen))
                    self._cpu_seen = sample.value

    # --- answering -----------------------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """Return the metrics of all processes in Prometheus' text format."""
        self._create_series()
        self.refresh()
        folder = os.environ.get(_FOLDER)
        if not folder:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(together)
