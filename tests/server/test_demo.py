"""The demo: made-up sessions in memory, an operator whose password is shown, and nothing for other machines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.server_process import Client, ServerProcess
from support.waiting import wait_until

from tornado_sessions.errors import ConfigError
from tornado_sessions.query import Query
from tornado_sessions.record import Outcome
from tornado_sessions.server import demo
from tornado_sessions.server.demo.crowd import SUSPECT, SUSPECT_NETWORK, SUSPECT_SESSIONS, Crowd, place_of
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.stores.networks import in_network

DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
NOW = 1_800_000_000.0


@pytest.mark.gen_test
async def test_every_session_of_the_crowd_is_live_and_the_suspect_has_half_of_hers_in_one_network() -> None:
    store, made = MemoryStore(), list(Crowd(NOW).sessions(3_000))
    assert set(await store.save(made)) == {Outcome.SAVED}
    assert (await store.count(Query(now=NOW))).total == 3_000
    assert (await store.count(Query(now=NOW, user=SUSPECT))).total == SUSPECT_SESSIONS == 61
    assert (await store.count(Query(now=NOW, user=SUSPECT, network=SUSPECT_NETWORK))).total == 31


def test_addresses_are_those_reserved_for_documentation_and_places_are_made_up() -> None:
    records = [made.record for made in Crowd(NOW).sessions(2_000)]
    assert all(any(in_network(record.ip, block) for block in DOCUMENTATION) for record in records)
    assert all(place_of(record.ip) for record in records)
    assert place_of("127.0.0.1") == place_of("no address") == ""


def test_times_are_in_order() -> None:
    for made in Crowd(NOW).sessions(2_000):
        record = made.record
        assert record.created_at <= (record.signed_in_at or record.created_at) <= record.last_seen_at <= NOW
        assert NOW < record.expires_at <= record.absolute_at


def test_the_demo_refuses_addresses_that_other_machines_can_reach() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 only"):
        demo.run(ServerOptions(host="0.0.0.0"))


def test_the_operator_signs_in_with_the_shown_password_and_every_page_says_that_it_is_a_demo(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "demo", "--store", "sqlite:///real.db")
    try:
        client = Client(server.url)
        page = client.get("/login")[1]
        shown = re.search(r"as demo with the password ([a-z0-9-]+)", page)
        assert shown
        client.post("/login", username="demo", password=shown[1])
        for path in ("/admin/", "/admin/overview", "/account"):
            assert "all people and sessions are made up" in client.get(path)[1]
        # A page waits for the first count, but not for long.
        wait_until(lambda: "20,00" in client.get("/admin/overview")[1], "the count")
        # 20,000, and the operator's own.
        assert "20,001" in client.get("/admin/")[1]
        assert not (tmp_path / "real.db").exists()
        assert f"with the password {shown[1]}" in "".join(server.printed)
    finally:
        assert server.stop() == 0
