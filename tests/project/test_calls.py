"""A request makes no more function calls than recorded: their number is stable where a time is not."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest
from support.urls import url_of

from benchmarks.calls import PATHS, count, has_grown
from benchmarks.results import Calls, read_recorded


@pytest.fixture(scope="module")
def fresh_process() -> Iterator[Executor]:
    """A process that no other test has changed; it is not a fork."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


# With a server of its own, a busy machine can split the answers of one turn in every round, so these two run in the long suite.
@pytest.mark.parametrize(
    "kind",
    [
        "memory",
        "sqlite",
        pytest.param("redis", marks=pytest.mark.long),
        pytest.param("mongo_pymongo", marks=pytest.mark.long),
    ],
)
def test_no_path_of_a_request_makes_a_tenth_more_calls_than_recorded(
    kind: str, fresh_process: Executor, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    recorded = read_recorded()[kind.partition("_")[0]]
    assert recorded.keys() == PATHS.keys()
    grown = dict(recorded)
    # A busy machine can split what is answered at once in every round of a path; never for long.
    for number in range(4):
        paths = tuple(grown)
        counted = fresh_process.submit(count, url_of(kind, request, tmp_path / str(number)), paths).result(timeout=60)
        grown = {path: calls for path, calls in counted.items() if has_grown(calls, recorded[path])}
        if not grown:
            break
    assert not grown, "if the calls are needed: python -m benchmarks.calls --record"


def test_a_tenth_more_calls_of_python_or_of_c_count_as_growth() -> None:
    recorded = Calls(100, 50)
    assert not has_grown(Calls(110, 55), recorded)
    assert has_grown(Calls(111, 50), recorded)
    assert has_grown(Calls(90, 56), recorded)
