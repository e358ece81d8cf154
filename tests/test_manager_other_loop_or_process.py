"""Using `Sessions` on another event loop or after a fork raises one clear error and harms nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.programs import PROGRAMS
from support.programs.other_loop_or_process import PLACES
from support.urls import BACKENDS, url_of

PROGRAM = PROGRAMS / "other_loop_or_process.py"


def told_by(url: str, *places: str) -> list[dict[str, Any]]:
    path = os.pathsep.join([str(PROGRAM.parents[3]), str(PROGRAM.parents[2])])
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), url, *places],
        capture_output=True, check=False, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


def test_every_use_elsewhere_is_one_clear_error_and_harms_nothing(url: str) -> None:
    for place, told in zip(PLACES, told_by(url, *PLACES), strict=True):
        assert len(set(told["said"].values())) == 1, (place, told)
        where = "before a fork" if "fork" in place else "on another event loop"
        assert told["said"]["open"].startswith(f"UsageError: this Sessions was opened {where}"), place
        assert len(told["said"]) == 17, place
        assert told["works"] is True, place


def test_a_first_loop_that_was_never_closed_is_named_as_well(url: str) -> None:
    (told,) = told_by(url, "without_close")
    (said,) = set(told["said"].values())
    assert said.startswith("UsageError: this Sessions was opened on another event loop")


def test_after_close_it_may_be_opened_on_another_loop(url: str) -> None:
    (told,) = told_by(url, "after_close")
    assert told["found"] == ["ada"]
    assert told["and again"] == ["ada", "ada"]
