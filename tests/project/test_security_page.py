"""docs/security.md: each test that it names exists, and each requirement of ASVS 5.0 V7 has one row."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
#: How many requirements each section of chapter V7 of OWASP ASVS 5.0 has.
V7 = {1: 3, 2: 4, 3: 2, 4: 5, 5: 3, 6: 2}
#: How a row begins that claims nothing.
NO_CLAIMS = ("Not met: ", "Does not apply: ", "Yours")
#: One test by its name: path and function.
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows_of(text: str) -> list[list[str]]:
    """The cells of each row, without heads of tables."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in rows if row[0] not in ("number", "section")]


ROWS = rows_of(PAGE.read_text(encoding="utf8"))


@cache
def names_in(path: str) -> set[str]:
    """The tests of a file, also those of its classes, as pytest collects them."""
    body = ast.parse((ROOT / path).read_text(encoding="utf8")).body
    places = [body, *(node.body for node in body if isinstance(node, ast.ClassDef) and node.name.startswith("Test"))]
    return {node.name for place in places for node in place if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def faults_of(row: list[str]) -> list[str]:
    """What is wrong with a row."""
    number, _, _, claim, proof = row
    named = TEST.findall(proof)
    faults = [f"{number}: no test {path}::{name}" for path, name in named if not exists(path, name)]
    if TEST.sub("", proof).replace("<br>", ""):
        faults.append(f"{number}: the proof has more than names of tests: {proof}")
    if not named and not claim.startswith(NO_CLAIMS):
        faults.append(f"{number}: nothing proves it")
    return faults


def exists(path: str, name: str) -> bool:
    return (ROOT / path).is_file() and name in names_in(path)


def test_every_claim_names_tests_that_exist() -> None:
    assert [fault for row in ROWS for fault in faults_of(row)] == []


def test_every_requirement_of_v7_has_one_row_and_no_number_has_two() -> None:
    counts = Counter(row[0] for row in ROWS)
    assert [number for number, count in counts.items() if count > 1] == []
    wanted = {f"7.{section}.{number}" for section, last in V7.items() for number in range(1, last + 1)}
    assert {number for number in counts if number.startswith("7.")} == wanted
    assert {number.split(".")[0] for number in counts} >= {"3", "5", "6", "7", "8", "13", "14", "16"}


GOOD = "tests/project/test_security_page.py::test_every_claim_names_tests_that_exist"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"| 1 | 1 | a | We do. | `{GOOD}` |", None),
        ("| 1 | 1 | a | Not met: b |  |", None),
        ("| 1 | 1 | a | We do. |  |", "nothing proves it"),
        (f"| 1 | 1 | a | We do. | `{GOOD}x` |", "no test"),
        ("| 1 | 1 | a | We do. | `tests/nowhere.py::test_a` |", "no test"),
        ("| 1 | 1 | a | We do. | `tests/project/test_security_page.py::names_in` |", "more than names of tests"),
        (f"| 1 | 1 | a | We do. | `{GOOD}`<br>and others |", "more than names of tests"),
    ],
)
def test_a_row_that_proves_nothing_is_a_fault(line: str, fault: str | None) -> None:
    (row,) = rows_of(line)
    faults = faults_of(row)
    assert (fault is None and not faults) or any(fault in found for found in faults if fault)
