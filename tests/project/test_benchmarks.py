"""What the benchmarks conclude from measurements, and the page that they write."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.charts import Bar, bars
from benchmarks.check import is_dearer
from benchmarks.compare import lost
from benchmarks.cost import cost_of
from benchmarks.page import DOCS, growth_rows, render
from benchmarks.results import Spread, overhead, versus
from benchmarks.scale import measure_size


def system(
    bare: list[float], read: list[float], kept: list[float] | None = None, *, ours: bool = True
) -> dict[str, Any]:
    def route(cpu: list[float], stored: list[float] | None = None) -> dict[str, Any]:
        return {"cpu": cpu, "kept": stored or [None] * len(cpu)}

    return {"title": "one", "ours": ours, "routes": {"bare": route(bare), "read": route(read, kept)}}


def test_an_overhead_is_compared_with_the_bare_route_of_the_same_slice() -> None:
    # The machine was twice as slow in the second slice.
    assert overhead(system([100, 200, 100], [120, 240, 120]), "read") == pytest.approx((0.2, 0.2, 0.2))
    assert overhead(system([100] * 4, [110, 120, 130, 140]), "read") == pytest.approx((0.25, 0.175, 0.325))


def test_ours_and_a_peer_are_compared_by_what_they_add() -> None:
    assert versus(system([100], [140]), system([50], [130]), "read") == pytest.approx(0.5)


def test_a_lost_write_is_a_fault_of_ours_and_only_a_hundredth_of_them_of_a_peer() -> None:
    def faults(share: float, *, ours: bool) -> list[str]:
        return lost({"systems": {"one": system([1.0], [1.0], [share], ours=ours)}})

    assert faults(0.9999, ours=True)
    assert faults(0.98, ours=False)
    assert not faults(1.001, ours=True)
    assert not faults(0.995, ours=False)


def test_an_overhead_is_dearer_if_it_exceeds_a_tenth_and_the_noise() -> None:
    recorded = Spread(0.30, 0.29, 0.31)
    assert is_dearer(Spread(0.37, 0.36, 0.38), recorded)
    assert not is_dearer(Spread(0.35, 0.34, 0.36), recorded)
    assert not is_dearer(Spread(0.40, 0.30, 0.50), recorded)


def test_a_chart_is_well_formed_names_its_numbers_and_cuts_long_bars() -> None:
    drawn = ET.fromstring(bars("Cost", [Bar("a & b", 0.5, 0.4, 0.6), Bar("peer", 9.0, 8.0, 10.0, False)], limit=1))
    text = " ".join(drawn.itertext())
    assert "a & b 0.50" in text
    assert "9.00 →" in text
    widths = [float(element.get("width", "0")) for element in drawn if element.tag.endswith("rect")]
    assert widths[1] == 2 * widths[0]


def test_growth_compares_the_cpu_of_the_first_and_the_last_size() -> None:
    def column(cpu: float, size: float) -> dict[str, dict[str, float]]:
        return {"load": {"cpu": cpu, "loop": 0.1, "elapsed": 9.0}, "bytes": {"value": size}}

    assert growth_rows({"1000": column(0.2, 300), "1000000": column(0.3, 310)}) == [
        ["", "1,000", "1,000,000", "growth", "loop", "elapsed"],
        ["load", "0.2", "0.3", "1.50", "0.1", "9"],
        ["bytes", "300", "310", "", "", ""],
    ]


@pytest.mark.gen_test
async def test_a_cost_counts_the_work_of_servers_apart_from_that_of_the_event_loop() -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    command = [sys.executable, "-Sc", busy]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        async def wait() -> None:
            assert server.stdout is not None
            server.stdout.readline()

        row = await cost_of(wait, 1, rounds=1)
        server.stdin.close()
    assert row["cpu"] > 250
    assert row["loop"] < 100


@pytest.mark.long
def test_growth_is_measured_in_a_fresh_store() -> None:
    rows = measure_size("sqlite", 1_000, {})
    assert 100 < rows["bytes a session"]["value"] < 400
    assert all(row["cpu"] > 0 for row in rows.values() if "cpu" in row)


def test_the_results_page_is_the_one_that_the_recorded_results_give() -> None:
    text, pictures = render()
    assert (DOCS / "benchmarks.md").read_text() == text, "python -m benchmarks.page"
    assert {path.stem: path.read_text() for path in DOCS.glob("bench-*.svg")} == pictures
