"""URLs of every kind of store, each with data of its own, on servers that are started once in a run."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from support.amount import only_long

KINDS = [
    "memory",
    "sqlite",
    "redis",
    "redis_cluster",
    "redis_sentinel",
    "mongo_motor",
    "mongo_pymongo",
    "mongo_standalone",
]
#: One of each back end, where the others would only repeat it.
BACKENDS = ["memory", "sqlite", "redis", "mongo_motor"]


#: The same for tests of code that does not know its backend: `make test` takes the two that need no server,
#: `make test-long` all of them, and so does `make test` where a test is marked `every_backend`.
COMMON_BACKENDS = [
    "memory",
    "sqlite",
    pytest.param("redis", marks=only_long),
    pytest.param("mongo_motor", marks=only_long),
]


def url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """A URL of this kind; its data is nobody else's."""
    if kind == "memory":
        return "memory://"
    if kind == "sqlite":
        return f"sqlite:///{folder}/data/sessions.db"
    if kind.startswith("mongo_"):
        server = request.getfixturevalue("mongo_standalone" if kind == "mongo_standalone" else "mongo")
        driver = "pymongo" if kind == "mongo_pymongo" else "motor"
        return f"{server.url}/t{uuid4().hex}?driver={driver}"
    return f"{request.getfixturevalue(kind).url}?prefix={uuid4().hex}:"
