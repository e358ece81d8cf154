"""Suggestions while somebody types: users in any case, and networks for parts of addresses."""

from __future__ import annotations

from collections import Counter

import pytest

from tornado_sessions import Sessions
from tornado_sessions.query import Count, Where
from tornado_sessions.server.operations.suggest import Kind, Suggestion, narrower, networks_of, suggest
from tornado_sessions.server.parts import Parts
from tornado_sessions.testing.maker import create


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113", "203.0.113.0/24"),
        ("203.0.113.", "203.0.113.0/24"),
        ("203.0.113.*", "203.0.113.0/24"),
        ("203.0.113.7", "203.0.113.0/24"),
        ("203.0", "203.0.0.0/16"),
        ("203.", "203.0.0.0/8"),
        ("2001:db8", "2001:db8::/32"),
        ("2001:DB8:", "2001:db8::/32"),
        ("2001:db8::", "2001:db8::/32"),
        ("2001:db8:1:2", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8::7", "2001:db8::/64"),
        ("203.0.113.9/24", "203.0.113.0/24"),
    ],
)
def test_a_part_of_an_address_stands_for_a_network(text: str, network: str) -> None:
    assert networks_of(text) == [network]


@pytest.mark.parametrize(
    "text",
    ["", "203", "ada", "999.1", "203.0.113.7.9", "1.2.3.4.", ":", "::::", "2001:xyz", "1/2/3", "a.b", "٣.٤", ":/0"],
)
def test_other_texts_stand_for_none(text: str) -> None:
    assert networks_of(text) in ([], ["1.2.3.0/24"])


async def fill(sessions: Sessions, *people: tuple[str | None, str]) -> None:
    now = sessions.clock()
    times = {"created_at": now - 100, "last_seen_at": now - 1, "expires_at": now + 600, "absolute_at": now + 600}
    created = [create(f"h{n:05}", user=user, ip=ip, **times) for n, (user, ip) in enumerate(people)]
    for start in range(0, len(created), 500):
        await sessions.store.save(created[start : start + 500])


@pytest.mark.gen_test
async def test_users_networks_and_sessions_are_suggested_with_their_numbers(parts: Parts) -> None:
    sessions = parts.sessions
    await fill(
        sessions,
        ("Mallory", "203.0.113.1"),
        ("Mallory", "203.0.113.2"),
        ("malik", "198.51.100.1"),
        (None, "192.0.2.1"),
    )
    assert await suggest(sessions, "mal") == [
        Suggestion(Kind.USER, "Mallory", Count(2, True)),
        Suggestion(Kind.USER, "malik", Count(1, True)),
    ]
    (network,) = await suggest(sessions, "203.0.113")
    assert network == Suggestion(Kind.NETWORK, "203.0.113.0/24", Count(2, True))
    assert network.parameters == {"ip": "203.0.113.0/24"}
    whole = await suggest(sessions, "203.0.113.2")
    assert [(each.kind, each.value, each.count.total) for each in whole] == [
        (Kind.NETWORK, "203.0.113.0/24", 2),
        (Kind.IP, "203.0.113.2", 1),
    ]
    assert [each.value for each in await suggest(sessions, "mALLORY")] == ["Mallory"]
    assert [each.parameters for each in await suggest(sessions, "H00003")] == [{"handle": "h00003"}]
    assert await suggest(sessions, " ") == await suggest(sessions, "nobody") == []


@pytest.mark.gen_test
async def test_users_are_found_behind_any_number_of_sessions(parts: Parts) -> None:
    """More sessions start with the text than are read at once, most of them those of one user."""
    sessions = parts.sessions
    await fill(
        sessions, *[("maa", "192.0.2.1")] * 1_100, ("Mab", "192.0.2.2"), ("mac", "192.0.2.3"), ("n", "192.0.2.4")
    )
    found = await suggest(sessions, "ma")
    assert [(each.value, each.count.total) for each in found] == [("maa", 1_100), ("mac", 1), ("Mab", 1)]
    assert [each.value for each in await suggest(sessions, "ma", limit=2)] == ["maa", "mac"]


@pytest.mark.every_backend
@pytest.mark.long_on("mongo")
@pytest.mark.gen_test
async def test_users_cost_one_list_for_each_spelling_however_many_there_are(parts: Parts) -> None:
    sessions = parts.sessions
    # The last ones have more sessions than one list has rows.
    people = [f"ma{n:02}" for n in range(30)] + ["mb"] * 40 + ["Mc"] * 30
    await fill(sessions, *((user, "192.0.2.1") for user in people))
    calls: Counter[str] = Counter()
    stop = sessions.measure(lambda call: calls.update([call.operation]))
    for text, users, finds, counts in (
        ("ma", 8, 3, 0),
        ("ma1", 8, 3, 0),
        ("MA03", 1, 3, 0),
        ("m", 8, 3, 1),
        ("mb", 1, 4, 1),
        ("mc", 1, 4, 1),
    ):
        calls.clear()
        found = await suggest(sessions, text)
        assert len(found) == users
        assert (calls["find"], calls["count"]) == (finds, counts), text
        for each in found:
            assert each.count == await sessions.count(user=each.value)
    stop()


@pytest.mark.gen_test
async def test_the_networks_of_one_user_are_suggested_with_the_numbers_of_the_list(parts: Parts) -> None:
    sessions = parts.sessions
    home, office = [f"203.0.113.{n}" for n in range(3)], [f"2001:db8:1:2::{n}" for n in range(2)]
    await fill(sessions, *(("ada", ip) for ip in (*home, *office, "192.0.2.1")), ("bob", home[0]), (None, home[1]))

    async def suggested(where: Where) -> list[tuple[dict[str, str], int]]:
        found = await narrower(sessions, where, (await sessions.find(where, limit=50)).items)
        for each in found:
            chosen = Where(user=each.parameters["user"], network=each.parameters["ip"])
            assert each.count == await sessions.count(chosen)
        return [(each.parameters, each.count.total) for each in found]

    both = [({"user": "ada", "ip": "203.0.113.0/24"}, 3), ({"user": "ada", "ip": "2001:db8:1:2::/64"}, 2)]
    assert (
        await suggested(Where(user="ada"))
        == await suggested(Where(text="AD"))
        == await suggested(Where(user_prefix="ad"))
        == both
    )
    for where in (Where(user="bob"), Where(user="nobody"), Where(network="203.0.113.0/24")):
        assert await suggested(where) == []
    one = (await sessions.find(user="ada", limit=1)).items[0]
    assert await suggested(Where(text=one.handle)) == [], "the others would be more than what was looked for"
    await fill(sessions, *(("eve", f"198.51.{100 + number % 2}.7") for number in range(300)))
    many = await narrower(sessions, Where(user="eve"), (await sessions.find(user="eve", limit=50)).items)
    assert [(each.value, each.count) for each in many] == [
        ("198.51.100.0/24", Count(100, False)),
        ("198.51.101.0/24", Count(100, False)),
    ]
