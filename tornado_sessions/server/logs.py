"""The log: text or JSON, one line for each record, without secrets, written by a thread of its own.

It must not know what is logged, HTTP, or where settings come from.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from io import TextIOWrapper
from queue import Empty, SimpleQueue
from typing import Any

from pythonjsonlogger.json import JsonFormatter
from typing_extensions import override

from tornado_sessions.redaction import SecretFilter
from tornado_sessions.server.log_budget import LogBudget
from tornado_sessions.server.request_context import RequestContext, current

__all__ = ["configured"]

# Lines that may wait for a slow or full standard error. Further ones are counted and dropped: requests are more important.
_MAX_WAITING = 5_000
# Lines that are written together.
_MAX_BATCH = 200
# Seconds without a line after which the writer looks whether records were left out.
_IDLE = 1.0
# Characters of a message, and of a traceback. Both can contain what a client has sent.
_MAX_TEXT = 4_000
# Seconds to wait at the end for lines that are not written yet.
_FLUSH_TIMEOUT = 2.0
# Their debug messages contain commands and their data, such as the values of sessions.
_DRIVERS = ("pymongo", "redis")
# Fields of the current request, and those that the access log adds.
_CONTEXT = {"request_id": "id", "method": "method", "path": "path", "ip": "ip", "user": "user", "session": "handle"}
_MEASURED = ("status", "duration_ms")
_plain = re.compile(r"[\w.@:/+-]+").fullmatch


@contextmanager
def configured(*, log_format: str, level: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Send the records of all loggers to standard error, inside the ``with`` block. At its end, waiting lines are written.

    Args:
        log_format: ``text`` or ``json``.
        level: the lowest level to write, such as ``info``.
        secrets: texts that must not appear in the log, besides those that ``SecretFilter`` recognizes by itself.
    """
    handler, root = _LogHandler(_JsonLines() if log_format == "json" else _TextLines(), secrets), logging.getLogger()
    number = logging.getLevelNamesMapping()[level.upper()]
    loggers = {root: number, **{logging.getLogger(name): max(number, logging.INFO) for name in _DRIVERS}}
    before = {logger: logger.level for logger in loggers}
    for logger, chosen in loggers.items():
        logger.setLevel(max(chosen, before[logger]) if logger is not root else chosen)
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.flush()
        handler.close()
        for logger, chosen in before.items():
            logger.setLevel(chosen)


class _LogHandler(logging.Handler):
    """Formats records at once, because the request and its objects may change, and lets the writer write them."""

    def __init__(self, formatter: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._secrets, self._budget = SecretFilter(secrets), LogBudget()
        self._writer = _Writer(self._report)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        context = current.get()
        self._report()
        address = context.ip if context is not None else ""
        if not self._budget.admits(record, address, is_in_request=context is not None):
            return
        # Other handlers, such as those that report errors to a service, still need the original.
        self._write(logging.makeLogRecord(record.__dict__), context)

    def _report(self) -> None:
        """Write how many records were left out, at most a second later; the idle writer calls it as well."""
        with self.lock or nullcontext():
            text = self._budget.news()
        if text:
            fields = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
            self._write(logging.makeLogRecord(fields), None)

    def _write(self, record: logging.LogRecord, context: RequestContext | None) -> None:
        for field, attribute in _CONTEXT.items():
            setattr(record, field, getattr(context, attribute, ""))
        try:
            self._secrets.filter(record)
            record.msg, record.args = _cut(record.getMessage()), ()
            record.exc_text, record.stack_info = _cut(record.exc_text or ""), _cut(record.stack_info or "")
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a line that cannot be logged must not fail a request
            line = f"a record of {record.name} cannot be formatted: {type(error).__name__}"
        self._writer.write(line + "\n")

    @override
    def flush(self) -> None:
        self._writer.flush(_FLUSH_TIMEOUT)


class _Writer:
    """Writes lines to standard error in a thread. A pipe that nobody reads or a full disk never stops the event loop."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self._on_idle = on_idle
        self._dropped = self._failed = self._reported = 0
        self._start()

    def _start(self) -> None:
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._process, self._thread = os.getpid(), threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Write a line soon, or drop it if too many are waiting."""
        if self._process != os.getpid():
            # Threads do not survive a fork. The lines that were waiting are written by the parent process.
            self._start()
        if self._lines.qsize() < _MAX_WAITING:
            self._lines.put(line)
        else:
            self._dropped += 1

    def flush(self, seconds: float) -> None:
        """Wait until all lines are written, for at most this many seconds."""
        written = threading.Event()
        if self._process == os.getpid():
            self._lines.put(written)
            written.wait(seconds)

    def _run(self) -> None:
        lines = self._lines
        while True:
            try:
                items = [lines.get(timeout=_IDLE)]
            except Empty:
                self._on_idle()
                continue
            while len(items) < _MAX_BATCH and not lines.empty():
                items.append(lines.get())
            texts = [item for item in items if isinstance(item, str)]
            # Two counters, each changed by one thread only: no loss is forgotten.
            lost = self._dropped + self._failed - self._reported
            if lost:
                texts.insert(0, f"{_time_of(time.time())} WARNING {__name__}: {lost} log lines were lost\n")
            if texts and _write("".join(texts)):
                self._reported += lost
            else:
                self._failed += len(texts) - bool(lost)
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()


def _cut(text: str) -> str:
    """Cut the middle out of a text that is too long: the end of a traceback says most."""
    if len(text) <= _MAX_TEXT:
        return text
    half = _MAX_TEXT // 2
    return f"{text[:half]} … {len(text) - _MAX_TEXT} characters left out … {text[-half:]}"


def _write(text: str) -> bool:
    """Write to standard error; return whether it worked. It may be closed, full, or a pipe without a reader."""
    try:
        if not isinstance(sys.stderr, TextIOWrapper):
            return bool(sys.stderr.write(text))
        # Not through Python's buffer, which keeps and repeats what it could not write.
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(sys.stderr.fileno(), data) :]
    except (OSError, ValueError, AttributeError):
        return False
    return True


class _TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO logger: message request_id=… user=… session=…``, with a traceback below it."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        parts = [_time_of(record.created), record.levelname, f"{record.name}:", _one_line(record.getMessage())]
        for name in ("request_id", "user", "session"):
            value = getattr(record, name)
            if value:
                # Quotes, because users choose their names: "ada session=…" must not pass for two fields.
                parts.append(f"{name}={value if _plain(value) else json.dumps(value)}")
        below = [text for text in (record.exc_text, record.stack_info) if text]
        # Indented, so that a line break in an error message cannot begin what looks like a record.
        lines = [f"    {_one_line(line)}" for text in below for line in text.splitlines()]
        return "\n".join([" ".join(parts), *lines])


class _JsonLines(JsonFormatter):
    """One JSON object a line (RFC 8259), in ASCII."""

    def __init__(self) -> None:
        super().__init__(json_ensure_ascii=True)

    @override
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = _time_of(record.created)
        log_data |= {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        for name in (*_CONTEXT, *_MEASURED):
            value = getattr(record, name, "")
            if value != "":
                log_data[name] = value
        if record.exc_text:
            log_data["exception"] = record.exc_text
        if record.stack_info:
            log_data["stack"] = record.stack_info


def _time_of(created: float) -> str:
    # RFC 3339, in UTC.
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Escape everything that could begin a line or give a command to a terminal: line breaks, escapes, reversed text."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
