"""No client makes the log grow without bound: whatever record a request causes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
from support.waiting import wait_until

from tornado_sessions.server.log_budget import LogBudget
from tornado_sessions.server.logs import configured
from tornado_sessions.server.request_context import RequestContext, current

CONTEXT = RequestContext("f058ebd6", "GET", "/account", "192.0.2.7", "ada", "Abcdefghijklmnop12")
REPORT = re.compile(r"log records left out, because there were too many of their kind: (.*)\n")


def a_failure(number: int) -> None:
    try:
        raise RuntimeError(f"broken {number}" + "x" * 100_000)
    except RuntimeError:
        logging.getLogger("tornado.application").exception("Uncaught exception %s", "GET /account")


#: Ways in which a request makes a record.
WAYS: dict[str, Callable[[int], None]] = {
    "a traceback of a handler": a_failure,
    "a warning about an outage": lambda n: logging.getLogger("tornado_sessions").warning("%s: %s", n, "no store"),
    "a security event": lambda n: logging.getLogger("tornado_sessions.security").warning("session %s is damaged", n),
    "a text that is different each time": lambda n: logging.getLogger("tornado.general").warning(f"Bad request {n}"),  # noqa: G004
    "an error of a library": lambda n: logging.getLogger("asyncio").error(f"Task {n} was never retrieved"),  # noqa: G004
    "a long message": lambda n: logging.getLogger("tornado_sessions").info("%s %s", n, "x" * 1_000_000),
    "a debug message": lambda _: logging.getLogger("tornado_sessions").debug("one more"),
}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_thousands_of_records_of_a_request_leave_little_and_their_number(
    log_format: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest's own handlers would keep all of them.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    token = current.set(CONTEXT)
    shown = ""

    def counted() -> int:
        lines = [line for line in shown.splitlines() if not line.startswith("    ") and "left out, because" not in line]
        found = (re.findall(r"(\d+) (?:[A-Z]+ [a-z_.]+|others)", report) for report in REPORT.findall(shown))
        return len(lines) + sum(int(n) for numbers in found for n in numbers)

    def is_reported() -> bool:
        nonlocal shown
        shown += capfd.readouterr().err
        # A slow machine takes several seconds for the flood, and reports each of them.
        return "left out, because" in shown and (log_format != "text" or counted() == 1_000 * len(WAYS))

    try:
        with configured(log_format=log_format, level="debug"):
            for cause in WAYS.values():
                for n in range(1_000):
                    cause(n)
            # Without a further record: the flood is over.
            wait_until(is_reported, "the report")
        shown += capfd.readouterr().err
    finally:
        current.reset(token)
    assert len(shown) < 1_000_000
    if log_format == "text":
        assert counted() == 1_000 * len(WAYS)


def test_each_address_has_records_of_its_own_and_all_together_a_limit() -> None:
    now = [0.0]
    budget = LogBudget(lambda: now[0])
    record = logging.makeLogRecord({"name": "tornado_sessions", "levelno": 30, "levelname": "WARNING", "msg": "%s: %s"})

    def admitted(address: str, many: int) -> int:
        return sum(budget.admits(record, address, is_in_request=True) for _ in range(many))

    assert admitted("192.0.2.1", 50) == 10
    assert admitted("192.0.2.2", 50) == 10
    assert sum(admitted(f"198.51.100.{n}", 1) for n in range(200)) == 80
    assert budget.news() == ""
    now[0] = 1.0
    assert budget.news().endswith("kind: 200 WARNING tornado_sessions")
    assert budget.news() == ""
    assert admitted("192.0.2.1", 50) == 10


def test_what_a_command_or_the_start_says_is_not_limited(capfd: pytest.CaptureFixture[str]) -> None:
    with configured(log_format="text", level="info"):
        for number in range(500):
            logging.getLogger("tornado_sessions.server").error("the account %d is damaged", number)
    assert capfd.readouterr().err.count("is damaged") == 500
