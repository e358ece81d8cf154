"""Compare the CPU time of a session in our stores and in other systems, in one run.

    python -m benchmarks                              everything; writes benchmarks/results.json and the results page
    python -m benchmarks --only memory sqlite express --slices 3 --seconds 1 --no-page

Every system runs in a process of its own on core 0, and the load generator (wrk), Valkey and the MongoDB server on core 1.
Slices of load alternate between all systems and their routes, so that changes in the machine's speed affect all. A cost is
the CPU time (user and system) of the server process per request; an overhead is that of a route with a session above the
bare route of the same process in the same slice. After each slice every session is read, and the counters are added up.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import page
from benchmarks.load import Slice, Target
from benchmarks.results import overhead, spread, write_results
from benchmarks.servers import Valkey, database_servers
from benchmarks.systems import SYSTEMS, Missing, Running, start

__all__ = ["main", "measure"]

#: How many of the acknowledged writes must be stored. Sessions that two requests change at once can lose a write in peers.
KEPT = 0.99


def server_versions(names: list[str]) -> dict[str, str]:
    """Return the versions of the programs that take part."""
    told = subprocess.run([Valkey.binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = {"valkey": told.split("v=")[1].split()[0]}
    for name in names:
        told = subprocess.run(
            [name, "--version" if name == "node" else "-v"], capture_output=True, text=True, check=False
        ).stdout
        found[name] = told.split("[")[0].strip().removeprefix("v")
    return found


def begin(
    names: list[str], folder: Path, servers: Mapping[str, str], stack: ExitStack
) -> tuple[dict[str, Target], dict[str, str]]:
    """Start the systems; return those that run, and why the others are missing."""
    targets: dict[str, Target] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            running: Running = start(SYSTEMS[name], folder / name, dict(servers))
            stack.callback(running.stop)
            targets[name] = Target(running, folder)
        except (Missing, OSError, AssertionError) as error:
            missing[name] = str(error) or type(error).__name__
            print(f"missing: {SYSTEMS[name].title}: {missing[name]}", file=sys.stderr)
    return targets, missing


def measure(names: list[str], slices: int, seconds: float) -> dict[str, Any]:
    """Measure the systems; the result is what ``results.json`` holds."""
    taken: dict[str, dict[str, list[Slice]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = stack.enter_context(database_servers(core=1))
        targets, missing = begin(names, folder, servers, stack)
        # Before the slices: an error after them would cost the whole run.
        programs = server_versions(["node"] if any(SYSTEMS[name].kind == "node" for name in targets) else [])
        rounds = [(name, path) for name in targets for path in SYSTEMS[name].routes]
        for name, path in rounds:
            # Caches, compilers and connections.
            targets[name].load(path, min(seconds, 1))
            taken.setdefault(name, {})[path] = []
        order = list(targets)
        with tqdm(total=slices * len(rounds), unit=" slices", file=sys.stderr) as bar:
            for number in range(slices):
                random.Random(number).shuffle(order)
                for name in order:
                    for path in SYSTEMS[name].routes:
                        taken[name][path].append(targets[name].load(path, seconds))
                        bar.update()
        versions = {name: target.running.versions for name, target in targets.items()}
    systems = {name: _columns(name, taken[name], versions[name]) for name in targets}
    return {
        "slices": slices,
        "seconds": seconds,
        "versions": programs,
        "systems": systems,
        "missing": {SYSTEMS[name].title: reason for name, reason in missing.items()},
    }


def _columns(name: str, taken: dict[str, list[Slice]], versions: dict[str, str]) -> dict[str, Any]:
    routes = {
        path: {key: [asdict(each)[key] for each in slices] for key in asdict(slices[0])}
        for path, slices in taken.items()
    }
    return {"title": SYSTEMS[name].title, "ours": SYSTEMS[name].is_ours, "versions": versions, "routes": routes}


def lost(measured: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the writes: a sentence for each system that lost some."""
    found = []
    for system in measured["systems"].values():
        shares = [share for route in system["routes"].values() for share in route["kept"] if share is not None]
        if shares and min(shares) < (1 if system["ours"] else KEPT):
            found.append(f"{system['title']} stored {min(shares):.4f} of the writes that it acknowledged")
    return found


def show(measured: Mapping[str, Any]) -> None:
    """Print the table."""
    print(f"{'':34}{'CPU µs':>8} {'overhead ÷ bare (quartiles)':>30} {'per s':>7} {'p50 ms':>7} {'p99 ms':>7}")
    for system in measured["systems"].values():
        for path, route in system["routes"].items():
            share = ""
            if not path.startswith("bare"):
                middle, low, high = overhead(system, path)
                share = f"{middle:6.2f} ({low:.2f}–{high:.2f})"
            rps, p50, p99 = (spread(route[key]).median for key in ("rps", "p50", "p99"))
            title = f"{system['title']}" if path == "bare" else f"    {path}"
            print(f"{title:34}{spread(route['cpu']).median:8.1f} {share:>30} {rps:7.0f} {p50:7.2f} {p99:7.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2, help="of each slice; whole seconds")
    parser.add_argument(
        "--only", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS), metavar="SYSTEM", help=", ".join(SYSTEMS)
    )
    parser.add_argument("--no-page", action="store_true", help="write neither results.json nor the page")
    given = parser.parse_args()
    measured = measure(given.only, given.slices, given.seconds)
    show(measured)
    faults = lost(measured)
    for fault in faults:
        print(f"WRITES LOST: {fault}")
    if not given.no_page:
        write_results("compare", measured)
        page.write()
    return int(any(fault.startswith("tornado_sessions") for fault in faults))


if __name__ == "__main__":
    sys.exit(main())
