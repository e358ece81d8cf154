"""Explain every list, count and search on a MongoDB server, and check how many documents each of its queries reads.

    python -m benchmarks.mongo_explain mongodb://localhost/scratch                 10,000 sessions of each kind
    python -m benchmarks.mongo_explain --sessions 1000 mongodb://localhost/scratch
    python -m benchmarks.mongo_explain                                             the server of the tests

It writes to collections with a prefix of its own and removes them at the end: live sessions, as many that were ended one
by one, and as many that were ended with all others. A query of a page may read one document more than the page has rows.
Exit codes: 0 every query keeps its bound; 1 one does not, sorts in memory or reads a whole collection; 2 the server does
not report what it reads, so nothing is proved.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from pymongo.monitoring import CommandListener, CommandStartedEvent

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.stores.mongo import MongoStore
from tornado_sessions.stores.paging import MAX_CANDIDATES, MAX_COUNTED, MAX_EXAMINED
from tornado_sessions.testing.maker import NOW, create, end

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.mongo_servers import Mongo

PAGE = 50
#: What the driver adds to a command; the server refuses it inside of ``explain``.
_OF_DRIVER = {"lsid", "txnNumber", "$db", "$clusterTime", "$readPreference", "readConcern", "maxTimeMS"}


class Question(NamedTuple):
    """A call of the store, and how many documents each of its queries may read."""

    name: str
    call: Callable[[], Awaitable[object]]
    bound: int


class Sent(CommandListener):
    """The queries of sessions that the store sends."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Remember a query through an index."""
        is_query = event.command_name in ("find", "aggregate") and event.command.get("hint")
        if is_query and event.command[event.command_name] == self.collection:
            self.commands.append({name: value for name, value in event.command.items() if name not in _OF_DRIVER})

    def succeeded(self, event: object) -> None:
        """Nothing to do."""

    def failed(self, event: object) -> None:
        """Nothing to do."""


async def fill(store: MongoStore, count: int) -> None:
    """Write the sessions. Of the live ones, a tenth has one user, a tenth one address, and a fifth no user."""
    for kind in ("dead", "ended", "live"):
        for start in range(0, count, 500):
            numbers = range(start, min(start + 500, count))
            handles = [f"{kind}{number:06}" for number in numbers]
            await store.save([_session(handle, number) for handle, number in zip(handles, numbers, strict=True)])
            if kind == "ended":
                await store.destroy(handles, end(NOW + 3))
        if kind == "dead":
            await store.end_all(NOW - 1, end(NOW - 1))
            await store.end_all(None, end(NOW + 1))


def _session(handle: str, number: int) -> Any:
    user = None if number % 5 == 4 else "heavy" if number % 10 == 0 else f"user{number}"
    ip = "192.0.2.1" if number % 10 == 1 else f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    at = NOW + 2 - number / 1e6 if not handle.startswith("dead") else NOW
    times = {"created_at": NOW + 2 if not handle.startswith("dead") else NOW, "last_seen_at": at}
    return create(handle, user=user, ip=ip, signed_in_at=at if user else None, **times)


def questions(store: MongoStore) -> Iterator[Question]:
    """Yield the lists with the bound of a page, then searches, filters without an index, and counts with theirs."""
    now = NOW + 4

    def ask(name: str, bound: int, **asked: Any) -> Question:
        return Question(name, lambda: store.find(Query(now=now, limit=PAGE, **asked)), bound)

    def count(name: str, bound: int, **asked: Any) -> Question:
        return Question(f"count of {name}", lambda: store.count(Query(now=now, **asked)), bound)

    for sort in Sort:
        yield ask(f"all, by {sort.value}", PAGE + 1, sort=sort)
        yield Question(f"second page, by {sort.value}", lambda sort=sort: _second(store, now, sort), PAGE + 1)  # type: ignore[misc]
    for state in State:
        yield ask(f"state {state.value}", PAGE + 1, state=state)
    yield ask("of a user", PAGE + 1, user="heavy")
    yield ask("of an address", PAGE + 1, ip="192.0.2.1")
    yield ask("visitors", PAGE + 1, signed_in=False)
    few = MAX_CANDIDATES + 1
    yield ask("of a user, by sign-in", few, user="heavy", sort=Sort.SIGNED_IN)
    yield ask("user prefix", few, user_prefix="user12")
    yield ask("network", few, network="192.0.2.0/24")
    yield ask("search", few, text="live00")
    yield ask("search among ended", MAX_EXAMINED, text="ended0099", state=State.ENDED)
    yield ask("device without sessions", MAX_EXAMINED, device="Opera")
    # The index of expiry answers without reading documents.
    yield count("all", 0)
    yield count("a user", MAX_COUNTED + 1, user="heavy")
    yield count("ended", MAX_COUNTED + 1, state=State.ENDED)
    yield Question("prune", lambda: store.expire(NOW + 5, 60, limit=PAGE), PAGE)


async def _second(store: MongoStore, now: float, sort: Sort) -> None:
    first = await store.find(Query(now=now, sort=sort, limit=PAGE))
    await store.find(Query(now=now, sort=sort, limit=PAGE, cursor=first.next_cursor))


async def _reports(database: Any, collection: str) -> bool:
    """Return whether the server runs what it explains: it then reads one document for a limit of one."""
    asked = {"find": collection, "limit": 1}
    totals = list(_totals(await database.command({"explain": asked, "verbosity": "executionStats"})))
    return [each["totalDocsExamined"] for each in totals] == [1]


def _stages(plan: Any) -> Iterator[str]:
    """Yield the names of all stages of a plan."""
    if isinstance(plan, dict):
        if isinstance(plan.get("stage"), str):
            yield plan["stage"]
        for name, value in plan.items():
            if name not in ("rejectedPlans", "allPlansExecution"):
                yield from _stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from _stages(value)


def _totals(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield the statistics of each part of an answer; an aggregation or a shard nests them."""
    if isinstance(plan, dict):
        if "totalDocsExamined" in plan:
            yield plan
        else:
            for value in plan.values():
                yield from _totals(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from _totals(value)


class Report:
    """Prints a line for each query, and remembers the worst result.

    Args:
        is_measured: whether the server reports what its queries read.
    """

    def __init__(self, *, is_measured: bool) -> None:
        self.is_measured = is_measured
        self.code = 0 if is_measured else 2

    def add(self, question: Question, command: dict[str, Any], answer: dict[str, Any]) -> None:
        """Judge the plan of one query."""
        totals, stages = list(_totals(answer)), set(_stages(answer))
        read, keys = (sum(int(each[name]) for each in totals) for name in ("totalDocsExamined", "totalKeysExamined"))
        by_handle = list(command.get("sort", {})) == ["_id"]
        faults: list[str] = []
        verdict = "not measured"
        if self.is_measured:
            faults += ["is not explained"] if not totals else []
            faults += [f"reads more than {question.bound}"] if read > question.bound else []
            # The search for damaged sessions sorts what it finds, which is nothing.
            faults += ["sorts in memory"] if "SORT" in stages and not (by_handle and read == 0) else []
            faults += ["reads the whole collection"] if "COLLSCAN" in stages else []
            verdict = ", ".join(faults) or "ok"
            self.code = 1 if faults else self.code
        print(f"{question.name:26} {command['hint']!s:16} {keys:8} {read:8} {question.bound:8}  {verdict}", flush=True)


async def explain(url: str, count: int) -> int:
    """Write the sessions, explain every query, and return the exit code."""
    prefix = f"explain_{uuid4().hex[:8]}_"
    store = MongoStore.from_url(f"{url}{'&' if '?' in url else '?'}prefix={prefix}")
    sent = Sent(f"{prefix}sessions")
    store.client.listeners = [sent]
    await store.open()
    database = store.sessions.database
    try:
        await fill(store, count)
        report = Report(is_measured=await _reports(database, f"{prefix}sessions"))
        print(f"{'list':26} {'index':16} {'keys':>8} {'read':>8} {'bound':>8}")
        for question in questions(store):
            sent.commands.clear()
            await question.call()
            for command in list(sent.commands):
                asked = {**command, "cursor": {}} if "aggregate" in command else command
                answer = await database.command({"explain": asked, "verbosity": "executionStats"})
                report.add(question, command, answer)
    finally:
        for name in ("sessions", "cells", "schema"):
            await database.drop_collection(prefix + name)
        await store.close()
    if report.code == 2:
        print("nothing is proved: this server does not report what it reads; run this on a mongod")
    return report.code


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="mongodb://… of a server; by default that of the tests is started")
    parser.add_argument("--sessions", type=int, default=10_000)
    given = parser.parse_args(arguments)
    if given.url:
        return asyncio.run(explain(given.url, given.sessions))
    server = Mongo()
    try:
        return asyncio.run(explain(f"{server.url}/explain", given.sessions))
    finally:
        server.stop()


if __name__ == "__main__":
    raise SystemExit(main())
