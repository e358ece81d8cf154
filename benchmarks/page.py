"""Write the results page of the documentation, with its pictures, from what was measured.

    python -m benchmarks.page

It must not measure anything: everything on the page comes from ``results.json`` and ``calls.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.charts import Bar, bars
from benchmarks.results import added, overhead, read_recorded, read_results, spread, versus

__all__ = ["growth_rows", "render", "write"]

DOCS = Path(__file__).parents[1] / "docs" / "explanation"
HEAD = """# Benchmarks

`make bench` writes this page; do not edit it. `make bench-check` compares a new run with it before a release.

"""
METHOD = """
Every system runs in a process of its own on one core; the load generator (wrk, 32 connections, 64 signed-in sessions),
Valkey and the MongoDB server have another. Slices of load alternate between all systems. *Read* answers the user name of
a session, *write* adds one to a counter in it and stores it; after each slice every session is read and the counters
are added up. *Overhead* is the CPU time (user and system) of the server process that a route with a session needs above
the bare route of the same process, as a share of the bare route: the median over the slices, with the quartiles. A
fast framework has a small bare route and so a large share; the column in µs says what a session costs. Only figures of
one run can be compared. The peers have their cheapest documented settings: express-session and @fastify/session do not
touch a session that was only read. *Floor* is a handler without sessions that reads and verifies the same cookie from a
table, decodes one value and sets the two headers that a response with a session must have: no session in Tornado can
cost less. The bare route is sent no cookie.
"""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _where(measured: Mapping[str, Any]) -> str:
    return (
        f"`{measured['command']}`, {measured['date']}, commit {measured['commit']}, on {measured['cores']} cores of"
        f" {measured['cpu']}, {measured['memory']}, {measured['system']}, Python {measured['python']}, with a load of"
        f" {measured['load']} when it ended"
    )


def _share(system: Mapping[str, Any], path: str) -> str:
    middle, low, high = overhead(system, path)
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _compare(measured: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    systems = measured["systems"]
    pictures = {}
    text = f"## What a session costs\n{METHOD}\n"
    for path in ("read", "write"):
        rows = [
            Bar(system["title"].removeprefix("tornado_sessions, "), *overhead(system, path), system["ours"])
            for system in systems.values()
        ]
        ours = max((row.value for row in rows if row.is_ours), default=1)
        pictures[f"bench-{path}"] = bars(
            f"Overhead of a {path}, as a share of the bare route", rows, limit=max(2.0, 1.2 * ours)
        )
        text += f"Overhead of a {path}; ours are green:\n\n```{{raw}} html\n:file: bench-{path}.svg\n```\n\n"
    head = ["system", "route", "CPU, µs", "added, µs", "overhead (quartiles)", "requests/s", "p50, ms", "p99, ms"]
    rows_ = []
    for system in systems.values():
        for path, route in system["routes"].items():
            medians = {key: spread(route[key]).median for key in ("cpu", "rps", "p50", "p99")}
            is_bare = path.startswith("bare")
            more = ["", ""] if is_bare else [f"{spread(added(system, path)).median:.0f}", _share(system, path)]
            title = system["title"] if path == "bare" else ""
            told = [f"{medians['rps']:.0f}", f"{medians['p50']:.1f}", f"{medians['p99']:.1f}"]
            rows_.append([title, path, f"{medians['cpu']:.0f}", *more, *told])
    text += _table(head, rows_)
    text += _express(systems) + _versions(measured)
    text += f"\n{_where(measured)}; {measured['slices']} slices of {measured['seconds']:g} s.\n\n"
    return text, pictures


def _express(systems: Mapping[str, Any]) -> str:
    if "express" not in systems:
        return ""
    rows = [
        [system["title"], *(f"{versus(system, systems['express'], path):.2f}" for path in ("read", "write"))]
        for system in systems.values()
        if system["ours"]
    ]
    return "\nWhat ours add in µs, divided by what express-session with connect-redis adds:\n\n" + _table(
        ["", "read", "write"], rows
    )


def _versions(measured: Mapping[str, Any]) -> str:
    found = dict(measured["versions"])
    for system in measured["systems"].values():
        # The client for node and the one for Python have the same name.
        language = " (node)" if "express" in system["versions"] or "fastify" in system["versions"] else ""
        found |= {name + (language if name == "redis" else ""): version for name, version in system["versions"].items()}
    text = "\nVersions: " + ", ".join(f"{name} {version}" for name, version in sorted(found.items())) + ".\n"
    for title, reason in measured["missing"].items():
        text += f"\nMissing: {title}, because {reason}.\n"
    return text


def _calls() -> str:
    recorded = read_recorded()
    paths = list(next(iter(recorded.values())))
    rows = [
        [path, *(f"{counted[path].python:.0f} · {counted[path].c:.0f}" for counted in recorded.values())]
        for path in paths
    ]
    return (
        "## Function calls of a request\n\n"
        "Calls of Python functions · of C functions above those of a bare handler, on 32 connections at the same moment or on one"
        " (alone). A test fails when one grows by a tenth (`make bench-calls`).\n\n" + _table(["", *recorded], rows)
    )


def growth_rows(columns: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """Return the table of one store: the head, then what each thing costs with so many sessions."""
    sizes = list(columns)
    last = columns[sizes[-1]]
    rows = [["", *(f"{int(size):,}" for size in sizes), "growth", "loop", "elapsed"]]
    for name, row in last.items():
        found = [columns[size].get(name, {}) for size in sizes]
        costs = [one.get("cpu", one.get("value")) for one in found]
        told = ["" if cost is None else f"{cost:.3g}" for cost in costs]
        growth = f"{_growth(columns, name):.2f}" if "cpu" in row and len(sizes) > 1 else ""
        rows.append([name, *told, growth, *(f"{row[key]:.3g}" if key in row else "" for key in ("loop", "elapsed"))])
    return rows


def _growth(columns: Mapping[str, Mapping[str, Mapping[str, float]]], name: str) -> float:
    first, *_, last = columns
    return columns[last][name]["cpu"] / max(columns[first][name]["cpu"], 1e-9)


def _scale(measured: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    text = (
        "## Growth with the number of sessions\n\n"
        "Milliseconds of CPU time, of the process with all its threads and of the store's server, with as many sessions as the"
        " column says, and their growth from the first column to the last. Of the last: the part of the event loop's thread, and"
        " the elapsed time. Rows that begin with *plain* do the same without us, in the same run: a table with a random key and"
        " one more index, single commands of Redis. Each figure is the lower quartile of seven rounds; ends and pruning are"
        " measured once. The server for MongoDB is the one of the tests.\n"
    )
    pictures = {}
    for store, found in measured["stores"].items():
        columns = found["columns"]
        head, *rows = growth_rows(columns)
        text += f"\n### {store}\n\n" + _table(head, rows)
        names = [name for name, row in columns[list(columns)[-1]].items() if "cpu" in row]
        growths = [(name, _growth(columns, name)) for name in names] if len(columns) > 1 else []
        if growths:
            drawn = [Bar(name, value, value, value, not name.startswith("plain")) for name, value in growths]
            pictures[f"bench-growth-{store}"] = bars(f"Growth on {store}", drawn, limit=3)
            text += f"\n```{{raw}} html\n:file: bench-growth-{store}.svg\n```\n"
        text += f"\n{_where(found)}.\n"
    return text + "\n", pictures


def _workers(measured: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    stores = measured["stores"]
    names = list(dict.fromkeys(name for found in stores.values() for name in found))
    rows = [[name, *(f"{found[name]:.0f}" if name in found else "" for found in stores.values())] for name in names]
    text = (
        "## Several workers, and pauses\n\n"
        "Requests per second of one process and of two on the same port, and the longest pause of the event loop under a load of"
        " reads and writes, also while two clients sign in all the time. The workers, the store's server and the load"
        " generator share the cores.\n\n"
    )
    return text + _table(["", *stores], rows) + f"\n{_where(measured)}.\n\n", {}


def render() -> tuple[str, dict[str, str]]:
    """Return the page and its pictures by name."""
    results = read_results()
    text, pictures = HEAD, {}
    for name, write_part in (("compare", _compare), ("scale", _scale), ("workers", _workers)):
        if name in results:
            part, drawn = write_part(results[name])
            text += part
            pictures |= drawn
    return text + _calls(), pictures


def write() -> None:
    """Write the page and its pictures."""
    text, pictures = render()
    for old in DOCS.glob("bench-*.svg"):
        old.unlink()
    for name, picture in pictures.items():
        (DOCS / f"{name}.svg").write_text(picture)
    (DOCS / "benchmarks.md").write_text(text)


if __name__ == "__main__":
    write()
