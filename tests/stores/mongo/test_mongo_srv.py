"""``mongodb+srv://``: DNS names the servers, with both drivers."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest
from support.dns_server import resolving
from support.mongo_servers import Mongo

from tornado_sessions.errors import ConfigError, StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.record import Outcome
from tornado_sessions.server.documents import Document, open_documents
from tornado_sessions.stores import open_store
from tornado_sessions.testing.maker import NOW, create

#: A server has to be in the domain of the URL's host; this way its name is an address.
HOST, DOMAIN = "127.0.0.1", "cluster.0.0.1"


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.parametrize("service", ["", "&srvServiceName=other&srvMaxHosts=1"])
@pytest.mark.gen_test(timeout=40)
async def test_a_store_is_found_by_dns(mongo: Mongo, driver: str, service: str) -> None:
    name = "_other" if service else "_mongodb"
    records = {(f"{name}._tcp.{DOMAIN}.", "SRV"): [f"0 0 {mongo.port} {HOST}."]}
    url = f"mongodb+srv://{DOMAIN}/s{uuid4().hex}?tls=false&driver={driver}{service}"
    async with resolving(records):
        store, documents = open_store(url), open_documents(url)
        await store.open()
        await documents.open()
        assert await store.save([create("h1")]) == [Outcome.SAVED]
        assert [item.handle for item in (await store.find(Query(now=NOW))).items] == ["h1"]
        assert await documents.put("account", Document("ada", 1, b"{}"), names=["ada"])
        await store.close()
        await documents.close()


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.gen_test(timeout=40)
async def test_a_name_that_dns_does_not_know_is_an_outage_that_blocks_nothing(driver: str) -> None:
    async with resolving({}):
        store = open_store(f"mongodb+srv://{DOMAIN}/db?driver={driver}&serverSelectionTimeoutMS=500")
        longest, is_over = 0.0, False

        async def watch() -> None:
            nonlocal longest
            last = time.monotonic()
            while not is_over:
                await asyncio.sleep(0)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()

        watching = asyncio.ensure_future(watch())
        with pytest.raises(StoreUnavailable):
            await store.open()
        is_over = True
        await watching
        assert longest < 1
        await store.close()


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("mongodb+srv://a.b.org:27017/db", "one host and no port"),
        ("mongodb+srv://a.b.org,c.b.org/db", "one host and no port"),
        ("mongodb+srv://ada:p%40ss@a.b.org/db?w=0", "w=0"),
        ("mongodb://a.b.org/db?srvMaxHosts=1", "srv"),
    ],
)
def test_what_such_a_url_cannot_say_is_refused(url: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url)
    assert fault in str(caught.value)
    assert "p%40ss" not in str(caught.value)
