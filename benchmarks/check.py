"""Compare a new run with the recorded one, before a release.

    python -m benchmarks.check [--slices 5] [--seconds 2]

The overhead of each of our paths, as a share of the bare route, may exceed the recorded one by a tenth plus the spread of both
runs; the calls of a request may grow by a tenth. The exit code is 1 if something is dearer. On another processor than the recorded
run's, only the calls are sure to be comparable.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.calls import count, has_grown, urls
from benchmarks.compare import measure
from benchmarks.results import Spread, circumstances, overhead, read_recorded, read_results
from benchmarks.systems import SYSTEMS

__all__ = ["is_dearer", "main"]

#: Overhead may grow by this share, and by this much of the bare route: below that, a machine's noise decides.
MAY_GROW, NOISE = 0.1, 0.03


def is_dearer(now: Spread, recorded: Spread) -> bool:
    """Return whether an overhead exceeds the recorded one by more than both spreads explain."""
    noise = max(NOISE, (now.high - now.low) / 2 + (recorded.high - recorded.low) / 2)
    return now.median > recorded.median * (1 + MAY_GROW) + noise


def check_ratios(measured: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Print our overheads beside the recorded ones, and return whether all are as cheap."""
    good = True
    for name, system in measured["systems"].items():
        for path in system["routes"]:
            before = recorded["systems"].get(name)
            if path.startswith("bare") or before is None or path not in before["routes"]:
                continue
            now, then = overhead(system, path), overhead(before, path)
            dearer = is_dearer(now, then)
            good &= not dearer
            print(
                f"{system['title']:28} {path:14} {now.median:6.2f} (recorded {then.median:.2f}){'  DEARER' if dearer else ''}"
            )
    return good


def check_calls() -> bool:
    """Print the paths that make more calls than recorded, and return whether there are none."""
    recorded = read_recorded()
    good = True
    with urls(list(recorded)) as found:
        for store, url in found.items():
            for path, calls in count(url).items():
                if has_grown(calls, recorded[store][path]):
                    good = False
                    print(f"{store:28} {path:14} {calls} (recorded {recorded[store][path]})  MORE CALLS")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    given = parser.parse_args()
    recorded = read_results().get("compare")
    if recorded is None:
        print("nothing is recorded: run make bench")
        return 1
    here = circumstances()["cpu"]
    if here != recorded["cpu"]:
        print(f"recorded on {recorded['cpu']}, and this is {here}: other ratios may come from the processor alone")
    ours = [name for name, system in SYSTEMS.items() if system.is_ours]
    ratios = check_ratios(measure(ours, given.slices, given.seconds), recorded)
    calls = check_calls()
    return 0 if ratios and calls else 1


if __name__ == "__main__":
    sys.exit(main())
