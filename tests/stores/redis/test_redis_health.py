"""What a server's INFO says about the risk for sessions."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tornado_sessions.stores.redis.health import examine

GOOD: dict[str, Any] = {
    "redis_version": "7.2.4", "role": "master", "used_memory": 10, "used_memory_human": "10B", "maxmemory": 100,
    "maxmemory_human": "100B", "maxmemory_policy": "noeviction", "aof_enabled": 1, "connected_slaves": 1,
    "rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok",
}  # fmt: skip


def test_a_good_server_is_described() -> None:
    found = examine({"": {**GOOD, "server_time_usec": int(time.time() * 1e6)}})
    assert (found.faults, found.warnings) == ([], [])
    assert "Redis 7.2.4: master, 10B of memory used (limit 100B), eviction noeviction, AOF on" in str(found.facts[0])


@pytest.mark.parametrize(
    ("change", "part", "remedy"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "faults", "set it to noeviction"),
        ({"redis_version": "6.0.16"}, "faults", "6.2 or later"),
        ({"role": "slave", "master_host": "db", "master_port": 6379}, "faults", "the server is a replica (db:6379)"),
        ({"rdb_last_bgsave_status": "err"}, "faults", "full disk"),
        ({"aof_last_write_status": "err"}, "faults", "full disk"),
        ({"aof_enabled": 0}, "warnings", "appendonly is off"),
        ({"used_memory": 95}, "warnings", "95% of the memory limit"),
        ({"server_time_usec": int((time.time() - 90) * 1e6)}, "warnings", "synchronise both clocks"),
    ],
)
def test_each_risk_is_named_with_its_remedy(change: dict[str, Any], part: str, remedy: str) -> None:
    found = examine({"": {**GOOD, **change}})
    assert remedy in " ".join(map(str, getattr(found, part)))
    assert not {"faults", "warnings"} - {part} or not getattr(found, ({"faults", "warnings"} - {part}).pop())


def test_one_bad_node_of_a_cluster_is_named() -> None:
    found = examine({"a:1": GOOD, "b:2": {**GOOD, "maxmemory_policy": "volatile-lru"}})
    assert [str(fault) for fault in found.faults if "volatile-lru (b:2)" in str(fault)]
    assert len(found.faults) == 1


@pytest.mark.parametrize(("days", "part"), [(-1, "faults"), (5, "warnings"), (90, "facts")])
def test_the_end_of_a_certificate_is_told_in_time(days: int, part: str) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    found = examine({"": GOOD}, [("redis:6379", end)])
    said = [str(one) for one in getattr(found, part) if "redis:6379" in str(one)]
    assert said
    assert f"{end:%Y-%m-%d}" in said[0]
