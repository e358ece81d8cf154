"""Store servers that are killed, replaced or moved during requests: no wrong answer, nobody signed out."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pymongo.monitoring import CommandListener, CommandStartedEvent
from support.amount import amount, only_long
from support.clock import Clock
from support.cutter import Cutter
from support.mongo_servers import Mongo
from support.passwords import SECRET
from support.programs import PROGRAMS
from support.redis_servers import Valkey, ValkeyCluster, ValkeySentinel
from support.tried import Tried
from support.urls import url_of
from support.waiting import until

from tornado_sessions import SessionConfig, Sessions
from tornado_sessions.drivers.redis import DEFAULT_BUCKETS
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query, State
from tornado_sessions.record import Outcome, Record
from tornado_sessions.request import RequestInfo
from tornado_sessions.stores import open_store
from tornado_sessions.stores.mongo import MongoStore
from tornado_sessions.stores.mongo.lists import index_of
from tornado_sessions.testing.maker import NOW, change, create, end


class Load:
    """Requests without a browser: each counts once in the session of its user, and looks who it is."""

    def __init__(self, sessions: Sessions, users: int = 20) -> None:
        self.sessions = sessions
        self.users = [f"user{number}" for number in range(users)]
        self.cookies: dict[str, Any] = {}
        self.counted = dict.fromkeys(self.users, 0)
        self.refused = 0
        self.wrong: list[str] = []
        self._stopping = False

    async def enter(self) -> None:
        """Log everybody in."""
        for user in self.users:
            request = self.sessions.new_request_session(RequestInfo(self.sessions.clock()))
            await self.sessions.log_in(request, user)
            self.cookies[user] = request.presented

    async def request(self, user: str) -> None:
        """One request, as the mixin makes it."""
        try:
            request = await self.sessions.fetch(self.cookies[user], RequestInfo(self.sessions.clock()))
            if request.session.user != user:
                self.wrong.append(f"{user} became {request.session.user}")
                return
            request.session.increment("n")
            await self.sessions.commit(request)
            self.counted[user] += 1
        except StoreUnavailable:
            self.refused += 1

    async def run(self) -> None:
        """Requests of everybody at once, again and again, until ``stop``."""
        while not self._stopping:
            await asyncio.gather(*map(self.request, self.users))

    async def during(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run while something happens, and until it is well again."""
        task = asyncio.create_task(self.run())
        try:
            await self.until_counted(2)
            await act()
            await self.until_counted(max(self.counted.values()) + 2)
        finally:
            self._stopping = True
            await task

    async def until_counted(self, times: int) -> None:
        """Return when everybody's requests were served so often."""
        await until(lambda: min(self.counted.values()) >= times, f"{times} requests of each user", 60)

    @property
    def made(self) -> int:
        """How many requests there were."""
        return sum(self.counted.values()) + self.refused + len(self.wrong)

    async def lost(self) -> int:
        """How many acknowledged counts are gone; all of a user who is signed out."""
        lost = 0
        for user, cookie in self.cookies.items():
            mine = (await self.sessions.fetch(cookie, RequestInfo(self.sessions.clock()))).session
            lost += max(self.counted[user] - (int(mine.get("n", 0)) if mine.user == user else 0), 0)
        return lost

    async def verify(self) -> None:
        """Nobody was logged out or mistaken, and nothing that was acknowledged is lost."""
        assert self.wrong == []
        for user in self.users:
            request = await self.sessions.fetch(self.cookies[user], RequestInfo(self.sessions.clock()))
            assert request.session.user == user
            assert int(request.session["n"]) >= self.counted[user]


@pytest.fixture
def make_sessions(io_loop: Any) -> Iterator[Callable[..., Sessions]]:
    made: list[Sessions] = []

    def make(url: str, **options: Any) -> Sessions:
        made.append(Sessions(url, config=SessionConfig(secret=SECRET, store_timeout=3), **options))
        return made[-1]

    yield make
    for sessions in made:
        io_loop.run_sync(sessions.close)


@pytest.mark.parametrize("make_server", [Valkey, Mongo], ids=["redis", "mongo"])
@pytest.mark.gen_test(timeout=90)
async def test_a_server_that_is_killed_and_started_again_logs_nobody_out(
    make_server: Callable[[], Valkey | Mongo], make_sessions: Callable[..., Sessions], tried: Tried
) -> None:
    server = make_server()
    try:
        load = Load(make_sessions(server.url))
        await load.enter()

        async def restart() -> None:
            await asyncio.to_thread(server.kill)
            await until(lambda: load.refused > 0, "refused requests", 60)
            await asyncio.to_thread(server.start)

        await load.during(restart)
        tried(
            "requests while the store is killed and started", times=load.made, lost=len(load.wrong) + await load.lost()
        )
        await load.verify()
        assert load.refused > 0
    finally:
        server.stop()


@pytest.mark.gen_test(timeout=90)
async def test_a_failover_by_sentinel_logs_nobody_out(make_sessions: Callable[..., Sessions], tried: Tried) -> None:
    watched = ValkeySentinel()
    try:
        load = Load(make_sessions(watched.url))
        await load.enter()
        await until(lambda: watched.replica.ask("DBSIZE") == watched.master.ask("DBSIZE"), "the replica", 60)

        async def fail_over() -> None:
            await asyncio.to_thread(watched.master.kill)
            await until(lambda: watched.master_port() == watched.replica.port, "the fail-over", 60)

        await load.during(fail_over)
        tried("requests during a failover by Sentinel: signed out", times=load.made, lost=len(load.wrong))
        assert load.wrong == []
    finally:
        watched.stop()


@pytest.mark.gen_test(timeout=90)
async def test_a_slot_that_moves_to_another_node_loses_nothing(
    make_sessions: Callable[..., Sessions], tried: Tried
) -> None:
    cluster = ValkeyCluster()
    try:
        load = Load(make_sessions(cluster.url))
        await load.enter()
        await load.during(lambda: asyncio.to_thread(move_slots, cluster))
        tried("requests while slots move to another node", times=load.made, lost=len(load.wrong) + await load.lost())
        await load.verify()
        for user in load.users:
            assert (await load.sessions.count(user=user)).total == 1
        assert (await load.sessions.count()).total == len(load.users)
    finally:
        cluster.stop()


def move_slots(cluster: ValkeyCluster) -> None:
    """Move every bucket of the first node to the second, key by key, as ``--cluster reshard`` does."""
    source, target = cluster.nodes[:2]
    names = {node.port: node.ask("CLUSTER", "MYID").decode() for node in cluster.nodes}
    for number in range(DEFAULT_BUCKETS):
        slot = int(source.ask("CLUSTER", "KEYSLOT", f"ts:{{{number:02x}}}:x"))
        if slot > 16384 // 3 - 1:
            continue
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target.port])
        with redis.Redis(port=source.port) as client:
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 3):
                client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, cluster.nodes[2]):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", names[target.port])


@pytest.mark.gen_test
async def test_a_flushed_script_cache_is_filled_again(redis: Valkey) -> None:
    store = open_store(redis.url + "?prefix=flushed:")
    await store.open()
    assert await store.save([create("h1")]) == [Outcome.SAVED]
    redis.ask("SCRIPT", "FLUSH")
    assert await store.save([change(set={"a": b"2"})]) == [Outcome.SAVED]
    await store.close()


@pytest.mark.gen_test
async def test_each_of_a_batch_whose_answer_was_lost_is_told_so(redis: Valkey) -> None:
    cutter = Cutter(redis.port)
    await cutter.open()
    store = open_store(f"redis://127.0.0.1:{cutter.port}?prefix=cut:")
    await store.open()
    handles = [f"h{number}" for number in range(10)]
    await store.save([create(handle, data={"n": b"1"}) for handle in handles])
    cutter.cuts_answers = True
    answers = await store.save([change(handle, set={"n": b"2"}, expect={"n": b"1"}) for handle in handles])
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    cutter.cuts_answers = False
    # Sent once: the change is done, and done once, so its guard is met no more.
    answers = await store.save([change(handle, set={"n": b"3"}, expect={"n": b"1"}) for handle in handles])
    found = (await store.load(handles, NOW + 2)).records
    assert [record.data["n"] for record in found if isinstance(record, Record)] == [b"2"] * 10
    await store.close()
    await cutter.close()


@pytest.mark.parametrize("kind", ["redis", "redis_cluster", "mongo_motor", "mongo_pymongo"])
@pytest.mark.gen_test
async def test_clocks_that_differ_by_minutes_log_nobody_out(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, make_sessions: Callable[..., Sessions]
) -> None:
    url = url_of(kind, request, tmp_path)
    clocks = [Clock(), Clock(), Clock()]
    clocks[1].now += 300
    clocks[2].now -= 300
    loads = [Load(make_sessions(url, clock=clock), users=1) for clock in clocks]
    await loads[0].enter()
    for load in loads:
        load.cookies = loads[0].cookies
        await load.request("user0")
        assert (load.wrong, load.counted["user0"]) == ([], 1)


@pytest.mark.gen_test(timeout=120)
async def test_no_command_of_a_list_grows_with_the_number_of_sessions(redis: Valkey) -> None:
    """Commands are counted, and the work of each is along an index by its nature: there is no SCAN, KEYS or SMEMBERS."""
    store = open_store(redis.url + "?prefix=many:")
    await store.open()
    # The server learns the script at its first use.
    await store.destroy_user("nobody", end(NOW))
    counts: list[dict[str, int]] = []
    made = 0
    for size in (1_000, amount(5_000, 100_000)):
        while made < size:
            some = range(made, min(made + 500, size))
            await store.save([create(f"h{n}", user=f"user{n % 500}", last_seen_at=NOW + n / 1000) for n in some])
            made += len(some)
        redis.ask("CONFIG", "RESETSTAT")
        await store.find(Query(now=NOW, limit=50))
        await store.find(Query(now=NOW, user="user7", limit=10))
        assert (await store.count(Query(now=NOW))).total == size
        await store.destroy_user(f"nobody{size}", end(NOW))
        stats = redis.ask("INFO", "COMMANDSTATS")
        counts.append({name: told["calls"] for name, told in stats.items() if "config" not in name})
    assert counts[0] == counts[1]
    assert not {"cmdstat_scan", "cmdstat_keys"} & counts[0].keys()
    await store.close()


class Commands(CommandListener):
    """Counts what the driver sends, by name."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    def started(self, event: CommandStartedEvent) -> None:
        self.sent[event.command_name] += 1

    def succeeded(self, event: object) -> None:
        """Counted when it was sent."""

    def failed(self, event: object) -> None:
        """Counted when it was sent."""


@pytest.mark.gen_test(timeout=120)
async def test_no_command_to_mongodb_grows_with_the_number_of_sessions(mongo: Mongo) -> None:
    """Commands are counted, and every list and change is explained: along an index, none by a look at everything."""
    commands = Commands()
    store = MongoStore.from_url(f"{mongo.url}/many?driver=pymongo")
    store.client.listeners = [commands]
    await store.open()
    counts: list[dict[str, int]] = []
    made = 0
    for size in (200, amount(1_000, 5_000)):
        while made < size:
            some = range(made, min(made + 500, size))
            await store.save([create(f"h{n}", user=f"user{n % 500}", last_seen_at=NOW + n / 1000) for n in some])
            made += len(some)
        commands.sent.clear()
        await store.find(Query(now=NOW, limit=50))
        await store.find(Query(now=NOW, user="user7", limit=10))
        assert (await store.count(Query(now=NOW))).total == size
        await store.load([f"h{n}" for n in range(64)], NOW)
        await store.save([change(f"h{n}", set={"a": b"2"}) for n in range(64)])
        await store.destroy_user("nobody", end(NOW))
        counts.append(dict(commands.sent))
    assert counts[0] == counts[1]
    # A turn's loads are one find; its changes are a look at everybody's end and one bulk write.
    assert counts[0]["update"] == 1
    for query in (
        Query(now=NOW),
        Query(now=NOW, user="ada"),
        Query(now=NOW, ip="::1"),
        Query(now=NOW, state=State.ENDED),
    ):
        plan = await store.sessions.find({"live": True}).hint(index_of(query)).limit(50).explain()
        assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"]), query
    await store.close()


@pytest.mark.parametrize(
    "kind", ["sqlite", "redis", "redis_cluster", "mongo_motor", pytest.param("mongo_pymongo", marks=only_long)]
)
@pytest.mark.gen_test(timeout=90)
async def test_processes_that_count_in_one_session_count_exactly(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, make_sessions: Callable[..., Sessions], tried: Tried
) -> None:
    url = url_of(kind, request, tmp_path)
    sessions = make_sessions(url)
    mine = sessions.new_request_session(RequestInfo(sessions.clock()))
    await sessions.log_in(mine, "ada")
    assert mine.presented is not None
    # Writers of one session on MongoDB wait for one another here, ten times as long as on the others.
    times = amount(20, 100) if kind.startswith("mongo") else 100
    arguments = [url, mine.presented.handle, mine.presented.secret_hash.hex(), str(times)]
    command = [sys.executable, str(PROGRAMS / "counter.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(3)]
    assert [await process.wait() for process in running] == [0, 0, 0]
    found = await sessions.fetch(mine.presented, RequestInfo(sessions.clock()))
    lost = 3 * times - int(found.session["n"])
    tried("increments of one session by three processes", times=3 * times, lost=lost)
    assert lost == 0
