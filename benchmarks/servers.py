"""Real database servers, on the core that the load generator has too.

It must not know what is measured. The servers are those of the tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.mongo_servers import Mongo
from support.ports import free_port
from support.redis_servers import Valkey, ValkeyCluster

__all__ = ["Mongo", "Valkey", "ValkeyCluster", "database_servers", "free_port"]


@contextmanager
def database_servers(*, redis: bool = True, mongo: bool = True, core: int | None = None) -> Iterator[dict[str, str]]:
    """Run the servers, and yield their URLs as ``REDIS_URL`` and ``MONGO_URL``.

    Args:
        redis: whether to run Valkey.
        mongo: whether to run a server of MongoDB's wire protocol.
        core: the core to pin them to; ``None``: any.
    """
    urls: dict[str, str] = {}
    with ExitStack() as stack:
        kinds: dict[str, type[Valkey | Mongo]] = {}
        if redis:
            kinds["REDIS_URL"] = Valkey
        if mongo:
            kinds["MONGO_URL"] = Mongo
        for variable, kind in kinds.items():
            server = kind()
            stack.callback(server.stop)
            assert server.process is not None
            if core is not None:
                os.sched_setaffinity(server.process.pid, {core})
            urls[variable] = server.url
        yield urls
