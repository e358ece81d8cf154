"""Every promise of the contract on every document store, and the layout of an earlier version on those that had one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import document_checks as contract
from support.document_makers import DocumentMaker, MongoMaker, RedisMaker, SQLiteMaker, make
from support.kits import runs_of
from support.urls import BACKENDS

from tornado_sessions.errors import StoreMismatch
from tornado_sessions.server.documents import MAX_PAGE, Document


@pytest.fixture
def maker(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[DocumentMaker]:
    (tmp_path / "data").mkdir()
    made = make(request.param, request, tmp_path)
    yield made
    io_loop.run_sync(made.close)


@pytest.mark.parametrize(("maker", "check"), runs_of(contract.DOCUMENT_CHECKS), indirect=["maker"])
@pytest.mark.gen_test(timeout=60)
async def test_documents(check: Callable[[DocumentMaker], Awaitable[None]], maker: DocumentMaker) -> None:
    await check(maker)


def test_no_check_is_left_out() -> None:
    written = [name for name in vars(contract) if name.startswith("check_")]
    assert sorted(check.__name__ for check in contract.DOCUMENT_CHECKS) == sorted(written)


@pytest.mark.parametrize("maker", BACKENDS, indirect=True)
@pytest.mark.gen_test(timeout=60)
async def test_all_documents_of_a_kind_are_more_than_a_page(maker: DocumentMaker) -> None:
    store = await maker.open()
    keys = [f"{number:04}" for number in range(MAX_PAGE + 3)]
    for key in keys:
        await store.put("thing", Document(key, 1, b"{}"))
    assert [document.key for document in await store.all("thing")] == keys


@pytest.mark.parametrize("maker", BACKENDS[1:], indirect=True)
@pytest.mark.gen_test
async def test_accounts_of_an_earlier_version_are_no_empty_store(maker: Any) -> None:
    """A server that took them for none would offer to make its first operator to whoever comes."""
    store = maker.make()
    if isinstance(maker, SQLiteMaker):
        await store.open()
        await store.close()
        await store.open()
        await store.database.write(lambda connection: connection.execute("CREATE TABLE accounts (name_key TEXT)"))
        await store.database.write(lambda connection: connection.execute("INSERT INTO accounts VALUES ('ada')"))
        await store.close()
    elif isinstance(maker, RedisMaker):
        maker.client.zadd(maker.base.replace("{documents}:", "{accounts}:names"), {"ada": 0})
    elif isinstance(maker, MongoMaker):
        maker.client[maker.database]["accounts"].insert_one({"_id": "ada"})
    with pytest.raises(StoreMismatch, match="layout of an earlier version"):
        await store.open()
