"""On a cluster every node with sessions is asked, and one that fails is replaced while the store is used."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from support.amount import only_long
from support.redis_servers import Valkey, ValkeyCluster
from support.redis_stores import Open, fresh, opened
from support.waiting import until, wait_until

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.record import Outcome
from tornado_sessions.testing.maker import NOW, change, create

__all__ = ["opened"]


def asked(cluster: ValkeyCluster, command: str) -> list[int]:
    """How often each node ran a command."""
    found = [node.ask("INFO", "COMMANDSTATS").get(f"cmdstat_{command}", {}) for node in cluster.nodes]
    return [int(stats.get("calls", 0)) for stats in found]


@pytest.mark.gen_test
async def test_lists_counts_health_and_check_ask_every_node(redis_cluster: ValkeyCluster, opened: Open) -> None:
    store = await opened(fresh(redis_cluster.url))
    await store.save([create(f"h{number}") for number in range(60)])
    calls = {
        "zrangebylex": lambda: store.find(Query(now=NOW)),
        "zcount": lambda: store.count(Query(now=NOW)),
        "mget": store.ping,
        "info": store.diagnose,
    }
    for command, call in calls.items():
        before = asked(redis_cluster, command)
        await call()
        # INFO is also how the nodes are asked here.
        own = 1 if command == "info" else 0
        counts = [late - early - own for early, late in zip(before, asked(redis_cluster, command), strict=True)]
        assert min(counts) >= 1, (command, counts)


@pytest.mark.gen_test
async def test_check_names_the_node_with_the_fault(redis_cluster: ValkeyCluster, opened: Open) -> None:
    store = await opened(fresh(redis_cluster.url))
    for node in redis_cluster.nodes:
        node.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            (fault,) = (await store.diagnose()).faults
        finally:
            node.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert f"allkeys-lru (127.0.0.1:{node.port})" in str(fault)


class ClusterWithReplica(ValkeyCluster):
    """A cluster whose first node has a replica."""

    def __init__(self) -> None:
        super().__init__()
        self.replica = Valkey("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.replica.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        first = self.nodes[0].ask("CLUSTER", "MYID").decode()
        wait_until(lambda: first.encode() in self.replica.ask("CLUSTER", "NODES"), "the meeting")
        self.replica.ask("CLUSTER", "REPLICATE", first)
        wait_until(lambda: self.replica.ask("INFO", "REPLICATION")["master_link_status"] == "up", "the replica")
        everywhere = [*self.nodes, self.replica]
        wait_until(lambda: all(b"slave" in node.ask("CLUSTER", "NODES") for node in everywhere), "the news of it")

    def is_master(self) -> bool:
        """Whether the replica has taken over."""
        return bool(self.replica.ask("INFO", "REPLICATION")["role"] == "master")

    def stop(self) -> None:
        self.replica.stop()
        super().stop()


@only_long
@pytest.mark.parametrize("dies", [False, True], ids=["hands over", "dies"])
@pytest.mark.gen_test(timeout=90)
async def test_a_node_is_replaced_by_its_replica_during_use(dies: bool, opened: Open) -> None:
    cluster = ClusterWithReplica()
    try:
        store = await opened(fresh(cluster.url) + "&timeout=1&connect_timeout=0.5")
        handles = [f"h{number}" for number in range(40)]
        assert await store.save([create(handle) for handle in handles]) == [Outcome.SAVED] * 40
        await until(lambda: cluster.replica.ask("DBSIZE") == cluster.nodes[0].ask("DBSIZE"), "the replica's data")
        counts: Counter[str] = Counter()

        async def use() -> bool:
            """Change every session and list all; return whether both worked."""
            answers = await store.save([change(handle, set={"n": b"2"}) for handle in handles])
            counts.update(type(answer).__name__ for answer in answers)
            try:
                page = await store.find(Query(now=NOW, limit=50))
            except StoreUnavailable:
                return False
            # A list is complete or fails: it never leaves out the sessions of a node.
            assert len(page.items) == 40
            return set(answers) == {Outcome.SAVED}

        assert await use()
        await asyncio.to_thread(cluster.nodes[0].kill if dies else lambda: cluster.replica.ask("CLUSTER", "FAILOVER"))
        await until(cluster.is_master, "the failover", 30)
        await until(use, "the store's use of the new master", 30)
        assert set(counts) <= {"Outcome", "StoreUnavailable", "WritesRefused"}
        await store.ping()
    finally:
        cluster.stop()
