"""Sessions and requests spread evenly over the nodes of a cluster, as the simulation of bucket load says."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from support.redis_servers import ValkeyCluster
from support.redis_stores import Open, fresh, opened

from benchmarks.bucket_load import Sizes, shares, simulate
from tornado_sessions.testing.maker import NOW, create

__all__ = ["opened"]

SIZES = Sizes(session=600, list=180)


@pytest.fixture(scope="module")
def redis_cluster_of_six() -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster(6)
    yield cluster
    cluster.stop()


def sessions_on(cluster: ValkeyCluster) -> list[int]:
    return [sum(b":s:" in key for key in node.ask("KEYS", "*")) for node in cluster.nodes]


def calls_on(cluster: ValkeyCluster, command: str) -> list[int]:
    stats = [node.ask("INFO", "COMMANDSTATS").get(f"cmdstat_{command}", {}) for node in cluster.nodes]
    return [int(found.get("calls", 0)) for found in stats]


@pytest.mark.long
@pytest.mark.gen_test(timeout=60)
async def test_six_nodes_share_sessions_and_loads_as_the_simulation_says(
    redis_cluster_of_six: ValkeyCluster, opened: Open
) -> None:
    store = await opened(f"{fresh(redis_cluster_of_six.url)}&buckets=256")
    handles = [uuid4().hex for _ in range(3_000)]
    for start in range(0, len(handles), 500):
        await store.save([create(handle) for handle in handles[start : start + 500]])
    _, expected = shares(handles, buckets=256, nodes=6)
    stored = sessions_on(redis_cluster_of_six)
    assert [number / len(handles) for number in stored] == expected
    assert max(stored) < 1.35 * len(handles) / 6
    assert min(stored) > 0.65 * len(handles) / 6

    before = calls_on(redis_cluster_of_six, "mget")
    for handle in handles[:600]:
        await store.load([handle], NOW)
    loads = [late - early for early, late in zip(before, calls_on(redis_cluster_of_six, "mget"), strict=True)]
    assert max(loads) < 1.5 * sum(loads) / 6
    assert min(loads) > 0.5 * sum(loads) / 6


def test_more_buckets_even_out_the_nodes_and_shorten_the_lists_but_lengthen_a_page() -> None:
    few, many = (simulate(10_000_000, 12, buckets, SIZES, sample=30_000) for buckets in (16, 256))
    assert many.fullest < few.fullest
    assert many.list < few.list / 8
    assert many.touches < few.touches
    assert (few.page, many.page) == (800, 12_800)


@pytest.mark.parametrize("buckets", [16, 64, 256])
def test_the_buckets_of_a_cluster_have_nearly_the_same_size(buckets: int) -> None:
    by_bucket, by_node = shares([uuid4().hex for _ in range(100_000)], buckets, nodes=6)
    assert sum(by_node) == pytest.approx(1)
    assert max(by_bucket) < 1.3 / buckets
    assert min(by_bucket) > 0.7 / buckets


def test_a_cluster_of_one_node_carries_everything() -> None:
    load = simulate(6_000_000, 1, 16, SIZES, sample=10_000)
    assert load.fullest == pytest.approx(1)
    assert load.node == pytest.approx(6e6 * SIZES.session / 1e9)
    assert load.touches == pytest.approx(100_000)
