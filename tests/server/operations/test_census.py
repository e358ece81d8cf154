"""The count of all sessions: true totals and true tops."""

from __future__ import annotations

import msgspec
import pytest
from support.amount import amount
from support.clock import Clock
from support.crowds import CHROME, FIREFOX, crowd, put, record
from support.waiting import until

from tornado_sessions.query import Where
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations import census
from tornado_sessions.server.operations.census import network_of
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.parts import Parts


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=60)
async def test_every_number_is_the_number_of_the_list(parts: Parts, twin: Parts, clock: Clock) -> None:
    """Each total and each top is what a list with the filter that it links to counts, in every process."""
    ips = ["203.0.113.9", "203.0.113.77", "::ffff:203.0.113.5", "2001:db8:7:1::1", "2001:db8:7:2::1", "not an address"]
    people = ["ada", "ada", "ada", "bob", "bob", None, "zoë", "名前", None, "\U0001f600"]
    await put(
        parts.sessions,
        (
            record(
                number,
                clock(),
                people[number % len(people)],
                ips[number % 6],
                [CHROME, FIREFOX, "curl/8", ""][number % 4],
            )
            for number in range(120)
        ),
    )
    found = await parts.census.figures(wait=10)
    assert found is not None
    assert (found.active, found.signed_in, found.visitors, found.people) == (120, 96, 24, 5)
    for user, number in found.tops.users:
        assert (await parts.sessions.count(user=user)).total == number
    for network, number in found.tops.networks:
        assert (await parts.sessions.count(Where(network=network))).total == number
    for device, number in found.tops.devices:
        assert (await parts.sessions.count(device=device)).total == number
    assert found.tops.users[0] == ("ada", 36)
    assert found.tops.networks == [("203.0.113.0/24", 60), ("2001:db8:7::/48", 40)]
    assert found.tops.devices == [("no browser", 60), ("Chrome on Windows", 30), ("Firefox on Linux", 30)]
    assert await twin.census.figures(wait=0) == found


@pytest.mark.gen_test(timeout=60)
async def test_all_sessions_of_a_crowd_are_counted(
    parts: Parts, clock: Clock, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mallory's 61 among thousands are 61, although only a few of them are among those seen last."""
    # The server that stands for MongoDB sorts all sessions for each page of a list.
    many = 1_500 if url.startswith("mongodb:") else amount(5_000, 20_000)
    monkeypatch.setattr(census, "SHARE", 1.0)
    await put(parts.sessions, crowd(many, clock()))
    found = await parts.census.figures(wait=60)
    assert found is not None
    assert found.active == many
    assert found.tops.users[0] == ("mallory", 61)
    assert found.tops.devices[1] == ("Chrome on Windows", 61)
    assert all(number <= found.signed_in for _, number in found.tops.users)
    # Its share of the time bounds the age of its result: less than a minute.
    assert found.work / 0.2 < 60


@pytest.mark.gen_test(timeout=30)
async def test_a_result_is_used_again_until_it_is_old(parts: Parts, twin: Parts, clock: Clock) -> None:
    await put(parts.sessions, [record(1, clock(), "ada")])
    first = await parts.census.figures(wait=10)
    await put(parts.sessions, [record(2, clock(), "ada")])
    assert await twin.census.figures(wait=10) == first
    clock.ahead += 10
    second = await twin.census.figures(wait=10)
    assert second is not None
    assert second.active == 2
    clock.ahead -= 3600
    third = await parts.census.figures(wait=10)
    assert third is not None
    assert third.at < second.at


@pytest.mark.gen_test(timeout=30)
async def test_one_process_counts_at_a_time_and_another_takes_over(
    parts: Parts, twin: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(parts.documents)
    lease = await leases.take("census")
    assert lease is not None
    assert await parts.census.figures(wait=1) is None
    monkeypatch.setattr("tornado_sessions.server.operations.leases._ABANDONED", 0.2)
    await until(lambda: twin.census.figures(wait=1), "a count by another process")
    assert await leases.renew("census", lease) is None, "the dead process notices that it lost the lease"
    assert await twin.census.figures(wait=0) is not None


@pytest.mark.gen_test(timeout=30)
async def test_a_damaged_result_is_replaced(parts: Parts, clock: Clock) -> None:
    await parts.documents.put("census", Document("latest", 1, b'{"at": "x"}'))
    found = await parts.census.figures(wait=10)
    assert found is not None
    assert found.active == 0


@pytest.mark.gen_test(timeout=30)
async def test_places_are_counted_where_the_application_knows_them(parts: Parts, clock: Clock) -> None:
    parts.census.place = lambda ip: "Utrecht, NL" if ip.endswith("1") else ""
    await put(parts.sessions, [record(n, clock(), "ada", f"192.0.2.{n}") for n in range(1, 12)])
    found = await parts.census.figures(wait=10)
    assert found is not None
    assert found.tops.places == [("NL", 2)]


@pytest.mark.gen_test(timeout=30)
async def test_the_server_counts_on_its_own(parts: Parts, clock: Clock) -> None:
    await put(parts.sessions, [record(1, clock(), "ada")])
    await parts.start()
    await until(lambda: parts.documents.get("census", "latest"), "the first count")
    stored = await parts.documents.get("census", "latest")
    assert stored is not None
    assert msgspec.json.decode(stored.body)["signed_in"] == 1


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("300.1.1.1", ""),
        ("x.y", ""),
        ("1.2.3.", ""),
        ("9" * 5000, ""),
    ],
)
def test_the_network_of_an_address(ip: str, network: str) -> None:
    assert network_of(ip) == network
