"""A database that is deleted, moved or replaced under the running process is an outage, never a silent loss."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from support.browser import Browser
from support.passwords import SECRET
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.record import Outcome
from tornado_sessions.server.documents import Document, open_documents
from tornado_sessions.stores import Store, open_store
from tornado_sessions.testing.maker import NOW, change, create, end

REPLACED = "was deleted or replaced while it was in use; restart the server"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "sessions.db"


@pytest.fixture
def store(path: Path, io_loop: Any) -> Iterator[Store]:
    made = open_store(f"sqlite:///{path}")
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


def files(path: Path) -> set[Path]:
    return set(path.parent.iterdir()) if path.parent.exists() else set()


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.replace(path)


def replace_by_an_empty_file(path: Path) -> None:
    path.unlink()
    path.touch()


def empty(path: Path) -> None:
    """As ``> sessions.db`` and a log rotation by ``copytruncate`` do: the file stays the same one."""
    os.truncate(path, 0)


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def delete_the_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("old"))
    shutil.copytree(path.parent.with_name("old"), path.parent)


def delete_the_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def replace_the_log(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    log.unlink()
    log.touch()


def delete_the_shared_memory(path: Path) -> None:
    path.with_name(f"{path.name}-shm").unlink()


LOSSES = [
    delete,
    move,
    replace_by_a_copy,
    replace_by_an_empty_file,
    empty,
    replace_by_a_directory,
    delete_the_directory,
    replace_the_directory,
]
#: The data can still be read, but what is committed now is lost with the process.
LOSSES_OF_THE_LOG = [delete_the_log, replace_the_log, delete_the_shared_memory]


@pytest.mark.parametrize("harm", [*LOSSES, *LOSSES_OF_THE_LOG], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("is_used", [True, False], ids=["used", "fresh"])
@pytest.mark.gen_test
async def test_every_call_says_that_the_file_is_gone(
    path: Path, store: Store, harm: Callable[[Path], None], is_used: bool
) -> None:
    await store.save([create("h1")])
    if is_used:
        # Each thread has its connection by now; else it would be made after the harm.
        await store.load(["h1"], NOW)
        await store.find(Query(now=NOW))
    harm(path)
    listing = files(path)
    writes: list[Callable[[], Any]] = [
        store.ping,
        lambda: store.save([create("h2")]),
        lambda: store.save([change("h1", set={"a": b"2"}), create("h3")]),
        lambda: store.destroy(["h1"], end()),
        lambda: store.end_all(None, end()),
        lambda: store.expire(NOW, 60),
        lambda: store.swap("n", None, b"1", NOW),
    ]
    reads: list[Callable[[], Any]] = [
        lambda: store.load(["h1"], NOW),
        lambda: store.find(Query(now=NOW)),
        lambda: store.count(Query(now=NOW)),
    ]
    for call in [*reads, *writes] if harm in LOSSES else writes:
        with pytest.raises(StoreUnavailable, match=REPLACED):
            await call()
    # Nor is an empty file put in its place, which a restart would take for the data.
    assert files(path) == listing


@pytest.mark.gen_test
async def test_a_write_into_the_lost_file_is_never_acknowledged(path: Path, store: Any) -> None:
    """The file goes while the transaction runs, after everything was looked at."""

    def lose(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO cells VALUES ('n', x'01', 1.0)")
        path.unlink()
        return "saved"

    with pytest.raises(StoreUnavailable, match=REPLACED):
        await store.database.write(lose)


@pytest.mark.gen_test
async def test_all_that_share_a_commit_are_answered_alike(path: Path, store: Store) -> None:
    await store.save([create("h0")])
    path.unlink()
    answers = await asyncio.gather(*(store.save([create(f"h{n}")]) for n in range(1, 20)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 19


@pytest.mark.gen_test
async def test_when_the_original_comes_back_it_works_again(path: Path, store: Store) -> None:
    await store.save([create("h1")])
    move(path)
    with pytest.raises(StoreUnavailable):
        await store.ping()
    path.with_name("elsewhere.db").rename(path)
    await store.ping()
    assert await store.save([change("h1", set={"a": b"2"})]) == [Outcome.SAVED]
    assert len((await store.find(Query(now=NOW))).items) == 1


@pytest.mark.gen_test
async def test_a_symbolic_link_that_is_switched_is_a_replacement(path: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    path.symlink_to(first)
    store = open_store(f"sqlite:///{path}")
    await store.open()
    await store.save([create("h1")])
    await store.ping()
    second.touch()
    path.unlink()
    path.symlink_to(second)
    with pytest.raises(StoreUnavailable, match=REPLACED):
        await store.save([create("h2")])
    await store.close()


@pytest.mark.gen_test
async def test_opening_anew_takes_the_new_file(path: Path, store: Store) -> None:
    await store.save([create("h1")])
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    await store.close()
    await store.open()
    await store.ping()
    assert await store.save([create("h1")]) == [Outcome.SAVED]


@pytest.mark.gen_test
async def test_the_path_is_the_one_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///relative.db")
    await store.open()
    await store.save([create("h1")])
    monkeypatch.chdir("/")
    await store.ping()
    assert len((await store.find(Query(now=NOW))).items) == 1
    await store.close()


@pytest.mark.parametrize("name", ["a b.db", "a%20b?.db", "ü#1.db"])
@pytest.mark.gen_test
async def test_a_path_of_odd_letters_is_that_path(tmp_path: Path, name: str) -> None:
    from tornado_sessions.drivers.sqlite import DatabaseOptions
    from tornado_sessions.stores.sqlite import SQLiteStore

    store = SQLiteStore(DatabaseOptions(str(tmp_path / name)))
    await store.open()
    await store.save([create("h1")])
    await store.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.gen_test
async def test_who_listens_hears_of_the_outage(path: Path, store: Store) -> None:
    await store.ping()
    async with aclosing(store.events()) as told:
        hearing = asyncio.ensure_future(anext(told))
        await store.ping()
        path.unlink()
        with pytest.raises(StoreUnavailable, match=REPLACED):
            await asyncio.wait_for(hearing, 5)


@pytest.mark.gen_test
async def test_another_process_may_come_and_go(path: Path, store: Store) -> None:
    """Its coming and going, checkpoints and VACUUM leave the files what they are."""
    for number in range(3):
        assert await store.save([create(f"h{number}")]) == [Outcome.SAVED]
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("UPDATE sessions SET ip = 'x'")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        other.execute("VACUUM")
        other.close()
        await store.ping()
    assert len((await store.find(Query(now=NOW, ip="x"))).items) == 3


@pytest.mark.gen_test
async def test_documents_notice_it_too(path: Path) -> None:
    documents = open_documents(f"sqlite:///{path}")
    await documents.open()
    assert await documents.put("account", Document("eve", 1, b"{}"))
    path.unlink()
    for call in (
        lambda: documents.put("account", Document("ada", 1, b"{}")),
        lambda: documents.get("account", "ada"),
        lambda: documents.page("account"),
    ):
        with pytest.raises(StoreUnavailable, match=REPLACED):
            await call()
    await documents.close()


@pytest.mark.gen_test
async def test_sessions_and_documents_of_one_file_share_its_threads(path: Path, store: Store) -> None:
    """Three threads serve both, until the last of them is closed."""

    def threads() -> int:
        return sum("sqlite" in thread.name for thread in threading.enumerate())

    documents = open_documents(f"sqlite:///{path}", getattr(store, "database", None))
    before = threads()
    await documents.open()
    assert threads() == before
    assert await documents.put("account", Document("ada", 1, b"{}"))
    await store.close()
    assert await documents.get("account", "ada") is not None
    await documents.close()
    assert threads() == before - 3
    await store.open()
    await store.ping()


class Write(SessionMixin, RequestHandler):
    async def get(self) -> None:
        for name, values in self.request.query_arguments.items():
            self.session[name] = values[-1].decode()
        self.write(dict(self.session))

    def log_exception(self, *_: Any) -> None:
        """The outage is meant."""


@pytest.fixture
def sessions(path: Path, io_loop: Any) -> Iterator[Sessions]:
    made = Sessions(f"sqlite:///{path}", config=SessionConfig(secret=SECRET))
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application([("/", Write)], sessions=sessions)


@pytest.mark.gen_test
async def test_a_browser_gets_503_and_keeps_its_cookie(path: Path, http_client: Any, base_url: str) -> None:
    browser = Browser(http_client, base_url)
    assert (await browser.get("/?a=1")).code == 200
    move(path)
    for request in ("/?a=2", "/"):
        response = await browser.get(request)
        assert response.code == 503
        assert "Set-Cookie" not in response.headers
    path.with_name("elsewhere.db").rename(path)
    assert (await browser.get("/")).body == b'{"a": "1"}'
