"""The last table of a run: what was tried, how often, and what was lost.

Tests record a row with the fixture ``tried``. Rows travel with the reports of the tests, so they arrive from the workers of
pytest-xdist as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

#: The name of the property of a report that holds one row.
_ROW = "tried"

#: By what was tried: how often, and how much was lost.
_TRIED: dict[str, tuple[int, int]] = {}
#: Tests that use the fixture and failed, so that their rows say nothing.
_FAILED: dict[str, None] = {}


class Tried(Protocol):
    """Records a row; rows of several tests with the same words are added up."""

    def __call__(self, what: str, *, times: int, lost: int) -> None: ...


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Tried:
    """Record what a test has tried, before it asserts that nothing was lost."""
    record_property(_ROW, ("", 0, 0))

    def record(what: str, *, times: int, lost: int) -> None:
        record_property(_ROW, (what, times, lost))

    return record


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the rows of a test when it is over."""
    rows: list[Any] = [value for name, value in report.user_properties if name == _ROW]
    if rows and report.failed:
        _FAILED[report.nodeid] = None
    if report.when == "teardown":
        for what, times, lost in rows[1:]:
            before = _TRIED.get(what, (0, 0))
            _TRIED[what] = before[0] + times, before[1] + lost


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, if a test has recorded a row."""
    if not _TRIED and not _FAILED:
        return
    terminalreporter.section("what was tried, how often, and what was lost")
    width = max(map(len, _TRIED), default=0)
    terminalreporter.write_line(f"{'':{width}} {'times':>9} {'lost':>6}")
    for what, (times, lost) in sorted(_TRIED.items()):
        terminalreporter.write_line(f"{what:{width}} {times:>9,} {lost:>6,}")
    for test in _FAILED:
        terminalreporter.write_line(f"FAILED, so its rows say nothing: {test}")
