"""The Hypothesis model of a store, on every store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from support.amount import amount, only_long
from support.makers import MemoryMaker, SQLiteMaker, make

from tornado_sessions.testing.model import store_machine


class OwnFolder(SQLiteMaker):
    """Each run of the model has a file of its own."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        super().__init__(Path(self.folder.name))

    async def close(self) -> None:
        await super().close()
        self.folder.cleanup()


machine_settings = settings(
    stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def machine(maker: Any, examples: int) -> Any:
    case = store_machine(maker).TestCase
    case.settings = settings(machine_settings, max_examples=examples * amount(1, 40))
    return case


TestMemory = machine(lambda: MemoryMaker(Path()), 50)
TestSQLite = machine(OwnFolder, 15)


@pytest.mark.parametrize(
    "kind", ["redis", "redis_cluster", "mongo_motor", pytest.param("mongo_pymongo", marks=only_long)]
)
def test_a_server_does_what_the_dicts_do(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    examples = amount(3, 200)
    case = store_machine(lambda: make(kind, request, tmp_path))
    run_state_machine_as_test(case, settings=settings(machine_settings, max_examples=examples))
