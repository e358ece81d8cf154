"""The Hypothesis model of a store, on every store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from stores.test_contract import MemoryMaker, SQLiteMaker

from tornado_sessions.testing.model import store_machine

LONG = bool(os.environ.get("LONG"))


class OwnFolder(SQLiteMaker):
    """Each run of the model has a file of its own."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        super().__init__(Path(self.folder.name))

    async def close(self) -> None:
        await super().close()
        self.folder.cleanup()


def machine(make: Any, examples: int) -> Any:
    case = store_machine(make).TestCase
    case.settings = settings(
        max_examples=examples * (20 if LONG else 1),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return case


TestMemory = machine(lambda: MemoryMaker(Path()), 100)
TestSQLite = machine(OwnFolder, 30)
