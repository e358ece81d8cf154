"""What was measured: ``benchmarks/results.json``, and the ratios that follow from it.

It must not know how anything is measured or drawn.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "RECORDED",
    "RESULTS",
    "Calls",
    "Spread",
    "added",
    "circumstances",
    "overhead",
    "read_recorded",
    "read_results",
    "spread",
    "versus",
    "write_results",
]

RESULTS = Path(__file__).with_name("results.json")
#: The function calls of a request.
RECORDED = Path(__file__).with_name("calls.json")


class Calls(NamedTuple):
    """Calls of one request, above those of the bare handler."""

    python: float
    c: float


class Spread(NamedTuple):
    """A median, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """Return the median and the quartiles of some values."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def bare_of(path: str) -> str:
    """Return the bare path that a path is compared with."""
    return "bare, alone" if path.endswith(", alone") else "bare"


def added(system: Mapping[str, Any], path: str) -> list[float]:
    """Return the CPU microseconds that a path costs above the bare route, in each slice."""
    routes = system["routes"]
    pairs = zip(routes[path]["cpu"], routes[bare_of(path)]["cpu"], strict=True)
    return [cost - bare for cost, bare in pairs]


def overhead(system: Mapping[str, Any], path: str) -> Spread:
    """Return what a path costs above the bare route, as a share of the bare route, slice by slice."""
    bare = system["routes"][bare_of(path)]["cpu"]
    return spread([cost / base for cost, base in zip(added(system, path), bare, strict=True)])


def versus(ours: Mapping[str, Any], peer: Mapping[str, Any], path: str) -> float:
    """Return our added CPU time divided by a peer's, both medians of one run."""
    return statistics.median(added(ours, path)) / statistics.median(added(peer, path))


def circumstances() -> dict[str, Any]:
    """Return when, where and by which command something is measured."""
    cpu = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"python -m {_module()} {' '.join(sys.argv[1:])}".strip(),
        "commit": described.stdout.strip(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return "benchmarks" if spec is None else spec.name.removesuffix(".__main__")


def read_results() -> dict[str, Any]:
    """Return everything that was measured, by what measured it."""
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def write_results(name: str, measured: Mapping[str, Any]) -> None:
    """Replace what one benchmark measured."""
    results = read_results() | {name: {**circumstances(), **measured}}
    RESULTS.write_text(
        json.dumps(json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.5g}")), indent=1)
        + "\n"
    )


def read_recorded() -> dict[str, dict[str, Calls]]:
    """Return the recorded counts by store and path."""
    stores = json.loads(RECORDED.read_text())
    return {store: {path: Calls(*calls) for path, calls in paths.items()} for store, paths in stores.items()}
