"""The example of docs/howto/write-a-store.md, word for word: packaged, installed and proved as its text says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tornado_sessions.stores.backends import ENTRY_POINTS
from tornado_sessions.testing import STORE_CHECKS

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/howto/write-a-store.md").read_text(encoding="utf8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The example's files and metadata, as pip would install them."""
    for block in blocks("python"):
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block, encoding="utf8")
    (toml,) = blocks("toml")
    offered = tomllib.loads(toml)["project"]["entry-points"][ENTRY_POINTS]
    metadata = tmp_path / "shared_store-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shared-store\nVersion: 1.0\n", encoding="utf8")
    lines = [f"[{ENTRY_POINTS}]", *(f"{scheme} = {value}" for scheme, value in offered.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf8")
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, check=False, text=True, timeout=110,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_the_kit_proves_it(installed: Path) -> None:
    done = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shared_store.py")
    assert done.returncode == 0, done.stdout
    assert f"{len(STORE_CHECKS)} passed" in done.stdout


USE = """
import asyncio
from tornado_sessions import Sessions, open_store
from tornado_sessions.request import RequestInfo

store = open_store("shared://main")
print(type(store).__module__, store.backend)

async def main():
    one, other = Sessions("shared://main", secret="x" * 40), Sessions(store, secret="x" * 40)
    await one.log_in(one.new_request_session(RequestInfo(one.clock())), "ada")
    print([item.user for item in (await other.find()).items])
    await one.close()
    await other.close()

asyncio.run(main())
"""


def test_sessions_open_it_by_its_url(installed: Path) -> None:
    done = run(installed, "-c", USE)
    assert done.stdout.splitlines() == ["shared_store shared", "['ada']"], done.stderr


BAD = """
from tornado_sessions import ConfigError, open_store
for url in ("shared://", "shared://a/b", "shared://a?b=c", "shard://a", "", None, 42, b"shared://a"):
    try:
        open_store(url)
    except ConfigError as error:
        print(error)
"""


def test_a_wrong_url_is_one_clear_error(installed: Path) -> None:
    lines = run(installed, "-c", BAD).stdout.splitlines()
    assert len(lines) == 8
    assert lines[:3] == ["write shared://NAME"] * 3


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        ("missing_module:Store", "cannot be loaded"),
        ("shared_store:Missing", "cannot be loaded"),
        ("shared_store:urlsplit", "not a subclass of Store"),
        ("shared_store:MemoryData", "not a subclass of Store"),
    ],
)
def test_an_entry_point_that_offers_no_store_is_named(installed: Path, offered: str, why: str) -> None:
    (installed / "shared_store-1.0.dist-info/entry_points.txt").write_text(
        f"[{ENTRY_POINTS}]\nodd = {offered}\n", "utf8"
    )
    program = (
        "from tornado_sessions import *\ntry:\n    open_store('odd://')\nexcept ConfigError as error:\n    print(error)"
    )
    said = run(installed, "-c", program).stdout
    assert why in said
    assert offered in said
