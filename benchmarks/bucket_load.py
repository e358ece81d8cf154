"""Compute how sessions, lists and requests spread over the buckets and nodes of a Redis Cluster.

    python -m benchmarks.bucket_load                            10 and 100 million sessions
    python -m benchmarks.bucket_load --sessions 20000000 --nodes 6 --buckets 64
    python -m benchmarks.bucket_load --measure                  measure the bytes of a session first; writes results.json

A bucket is a hash tag: its sessions and its list lie in one slot, hence on one node. The simulation gives handles to buckets
as the driver does and slots to nodes as a new cluster does, in ranges of equal size. Sizes are measured with a real server.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from typing import NamedTuple
from uuid import uuid4
from zlib import crc32

import redis
from redis.crc import key_slot

from benchmarks.pages import fill
from benchmarks.results import read_results, write_results
from benchmarks.servers import database_servers
from tornado_sessions.stores import open_store

__all__ = ["Load", "Sizes", "node_of", "shares", "simulate"]

SLOTS = 16_384
#: A session that is used is touched at most once in this time, in seconds: ``touch_after``.
TOUCH_AFTER = 60
#: Rows of a page: a list asks each bucket for as many.
PAGE = 50


class Sizes(NamedTuple):
    """Bytes that a session needs: in all, and in the list key of its bucket."""

    session: float
    list: float


class Load(NamedTuple):
    """What one cluster has to carry.

    Attributes:
        fullest: sessions on the fullest node, divided by the mean.
        node: gigabytes of the fullest node.
        list: gigabytes of the largest list key, which moves as one when its slot moves.
        touches: per second on the fullest node, if every session is in use.
        page: index entries that a page of a list reads.
    """

    fullest: float
    node: float
    list: float
    touches: float
    page: int


def node_of(bucket: int, nodes: int) -> int:
    """Return the node of a bucket, where each node has an equal range of the slots."""
    return key_slot(f"{{{bucket:02x}}}".encode()) * nodes // SLOTS


def shares(handles: list[str], buckets: int, nodes: int) -> tuple[list[float], list[float]]:
    """Return the share of these sessions in each bucket and on each node."""
    in_bucket = Counter(crc32(handle.encode()) % buckets for handle in handles)
    on_node: Counter[int] = Counter()
    for bucket, number in in_bucket.items():
        on_node[node_of(bucket, nodes)] += number
    total = len(handles)
    return [in_bucket[number] / total for number in range(buckets)], [
        on_node[number] / total for number in range(nodes)
    ]


def simulate(sessions: int, nodes: int, buckets: int, sizes: Sizes, sample: int = 200_000) -> Load:
    """Return what a cluster carries.

    Args:
        sessions: number of live sessions.
        nodes: number of masters.
        buckets: the option of the store's URL.
        sizes: bytes of a session.
        sample: number of handles from which the shares are estimated.
    """
    by_bucket, by_node = shares([uuid4().hex for _ in range(min(sample, sessions))], buckets, nodes)
    fullest = max(by_node)
    return Load(
        fullest=fullest * nodes,
        node=sessions * fullest * sizes.session / 1e9,
        list=sessions * max(by_bucket) * sizes.list / 1e9,
        touches=sessions * fullest / TOUCH_AFTER,
        page=buckets * PAGE,
    )


def measure_sizes(sessions: int = 20_000) -> Sizes:
    """Fill a real server, and return the bytes of a session."""

    async def create(url: str) -> None:
        store = open_store(url)
        await store.open()
        await fill(store, sessions)
        await store.close()

    with database_servers(mongo=False) as urls, redis.Redis.from_url(urls["REDIS_URL"]) as client:
        before = client.info("memory")["used_memory"]  # type: ignore[index]
        asyncio.run(create(urls["REDIS_URL"]))
        whole = client.info("memory")["used_memory"] - before  # type: ignore[index]
        lists = [key for key in client.scan_iter(count=10_000) if key.endswith(b"}:x")]
        listed = sum(client.memory_usage(key, samples=100) or 0 for key in lists)  # type: ignore[misc]
    return Sizes(whole / sessions, listed / sessions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", nargs="+", type=int, default=[10_000_000, 100_000_000])
    parser.add_argument("--nodes", nargs="+", type=int, default=[3, 6, 12, 24])
    parser.add_argument("--buckets", nargs="+", type=int, default=[16, 64, 256])
    parser.add_argument("--measure", action="store_true", help="measure the bytes of a session, and record them")
    given = parser.parse_args()
    if given.measure:
        write_results("sizes", {"redis": measure_sizes()._asdict()})
    recorded = read_results().get("sizes")
    if recorded is None:
        parser.error("no sizes are recorded: add --measure")
    sizes = Sizes(**recorded["redis"])
    print(f"{sizes.session:.0f} bytes a session, of which {sizes.list:.0f} in the list of its bucket")
    print("   sessions nodes buckets  fullest node  GB on it  largest list GB  touches/s on it  entries of a page")
    for sessions in given.sessions:
        for nodes in given.nodes:
            for buckets in given.buckets:
                load = simulate(sessions, nodes, buckets, sizes)
                print(
                    f"{sessions:11,} {nodes:5} {buckets:7} {load.fullest:11.2f} × {load.node:9.1f} {load.list:16.2f}"
                    f" {load.touches:16,.0f} {load.page:18,}"
                )


if __name__ == "__main__":
    main()
