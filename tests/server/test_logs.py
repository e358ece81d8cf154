"""The log of a server: its fields in text and JSON, and that nobody can forge a line, stop a request with it or read a secret."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from tornado_sessions.server.logs import configured
from tornado_sessions.server.request_context import RequestContext, current

log = logging.getLogger("another.library")
CONTEXT = RequestContext("f058ebd6", "GET", "/account", "192.0.2.7", "ada", "Abcdefghijklmnop12")


def in_request(capfd: pytest.CaptureFixture[str], log_format: str, *arguments: Any, **options: Any) -> str:
    """Log one line inside a request; return what standard error got."""
    token = current.set(CONTEXT)
    try:
        with configured(log_format=log_format, level="info"):
            log.error(*arguments, **options)
    finally:
        current.reset(token)
    return capfd.readouterr().err


def test_a_json_line_has_the_fields_of_record_and_request(capfd: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(in_request(capfd, "json", "ended %d", 5, extra={"status": 503, "duration_ms": 1.5}))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown.pop("time"))
    assert shown == {
        "level": "error", "logger": "another.library", "message": "ended 5", "request_id": "f058ebd6", "method": "GET",
        "path": "/account", "ip": "192.0.2.7", "user": "ada", "session": "Abcdefghijklmnop12", "status": 503, "duration_ms": 1.5,
    }  # fmt: skip


def test_a_text_line_begins_with_the_time_and_ends_with_the_request(capfd: pytest.CaptureFixture[str]) -> None:
    shown = in_request(capfd, "text", "ended %d", 5)
    rest = "ERROR another.library: ended 5 request_id=f058ebd6 user=ada session=Abcdefghijklmnop12\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z " + re.escape(rest), shown)


HOSTILE = [
    "\n2026-01-01T00:00:00.000Z INFO forged",
    "\r",
    "\x1b[2J",
    "\x9b31m",
    "\u2028",
    "\u202e",
    "\x00",
    "\x7f",
    "\ud800",
    "\x85",
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_text_of_a_client_begins_a_line_or_commands_a_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_format: str, hostile: str
) -> None:
    # pytest's own handlers would put a lone surrogate into the report, which pytest-xdist cannot send.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(CONTEXT, "user", f"ada{hostile}")
    monkeypatch.setattr(CONTEXT, "path", f"/{hostile}")
    shown = in_request(capfd, log_format, "no page %s", hostile)
    assert shown.count("\n") == 1
    assert shown.rstrip("\n").isprintable()


def test_a_name_with_spaces_cannot_pass_for_another_field(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CONTEXT, "user", 'ada session=root "')
    assert 'user="ada session=root \\""' in in_request(capfd, "text", "ended")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_message_with_a_line_break_cannot_forge_a_record(
    capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    error = ValueError("first\n2026-01-01T00:00:00.000Z INFO forged: line\x1b[2J")
    shown = in_request(capfd, log_format, "failed", exc_info=error, stack_info=True)
    assert "ValueError" in shown
    assert not re.search("^2026-01-01", shown, re.MULTILINE)
    assert "\x1b" not in shown


def test_a_secret_of_the_settings_and_one_of_known_shape_are_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    with configured(log_format="text", level="debug", secrets=["a signing key"]):
        log.debug("a signing key; Cookie: sid=abc")
    assert "a signing key" not in (shown := capfd.readouterr().err)
    assert "sid=abc" not in shown


def test_other_handlers_get_the_record_as_it_was() -> None:
    seen: list[logging.LogRecord] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Recorder()
    with configured(log_format="json", level="info"):
        log.addHandler(handler)
        try:
            log.error("failed %s", "x", exc_info=ValueError("y"))
        finally:
            log.removeHandler(handler)
    assert seen[0].args == ("x",)
    assert seen[0].exc_info


def test_debug_lines_of_drivers_which_contain_data_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    with configured(log_format="text", level="debug"):
        logging.getLogger("pymongo.command").debug("insert a session")
        log.debug("ours")
    shown = capfd.readouterr().err
    assert "insert a session" not in shown
    assert "ours" in shown


PROGRAM = """
import logging, os, sys
from tornado_sessions.server.logs import configured
with configured(log_format="text", level="info"):
    log = logging.getLogger("tornado_sessions.program")
    for number in range(8_000):
        log.error("line %d %s", number, "x" * 100)
    print("done", flush=True)
    sys.stdin.readline()
"""


def start(**options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
        **options,
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"
    process.communicate(b"\n", timeout=20)
    return process.returncode


def test_a_pipe_that_nobody_reads_stops_nothing_and_the_loss_is_reported() -> None:
    reading, writing = os.pipe()
    process = start(stderr=writing)
    os.close(writing)
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"
    shown = bytearray()
    with os.fdopen(reading, "rb") as pipe:
        thread = threading.Thread(target=lambda: shown.extend(pipe.read()))
        thread.start()
        process.communicate(b"\n", timeout=20)
        thread.join(20)
    assert process.returncode == 0
    found = re.search(rb"WARNING \S+: (\d+) log lines were lost", bytes(shown))
    assert found
    assert len(re.findall(rb"line \d+ x{100}\n", bytes(shown))) + int(found[1]) == 8_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_stops_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        assert finish(start(stderr=full)) == 0


def test_a_closed_standard_error_stops_nothing() -> None:
    assert finish(start(preexec_fn=lambda: os.close(2))) == 0


def test_a_forked_process_logs_as_well(capfd: pytest.CaptureFixture[str]) -> None:
    with configured(log_format="text", level="info"):
        log.info("parent")
        child = os.fork()
        if child == 0:
            log.info("child")
            logging.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
    shown = capfd.readouterr().err
    assert shown.count("parent") == shown.count("child") == 1


def test_lines_appear_without_waiting_for_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    shown = ""

    def has_appeared() -> bool:
        nonlocal shown
        shown += capfd.readouterr().err
        return "now" in shown

    with configured(log_format="text", level="info"):
        log.info("now")
        wait_until(has_appeared, "the line")
