"""Hosts whose clocks differ share a store: what ends everybody, or all that a filter matches, ends their sessions as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock
from support.passwords import SECRET
from support.urls import BACKENDS, url_of

from tornado_sessions import Sessions
from tornado_sessions.request import RequestInfo

Host = Callable[[float], Sessions]

#: How far the clock of another host is ahead, in seconds; negative: behind.
SKEWS = [-300, -3, 3, 300]


@pytest.fixture(params=[kind for kind in BACKENDS if kind != "memory"])
def host(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[Host]:
    """Makes a host of one deployment, with a clock that is off by so many seconds."""
    url, hosts = url_of(request.param, request, tmp_path), []

    def make(skew: float) -> Sessions:
        clock = Clock()
        clock.now += skew
        hosts.append(Sessions(url, secret=SECRET, clock=clock))
        return hosts[-1]

    yield make
    for each in hosts:
        io_loop.run_sync(each.close)


async def sign_in(sessions: Sessions, user: str = "ada") -> str:
    request = sessions.new_request_session(RequestInfo(sessions.clock()))
    await sessions.log_in(request, user)
    assert request.session.handle is not None
    return request.session.handle


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.gen_test
async def test_everybodys_end_reaches_other_hosts_and_keeps_nobody_out(skew: float, host: Host) -> None:
    right, other = host(0), host(skew)
    await sign_in(right)
    await sign_in(other)
    await right.end_all()
    assert (await right.count()).total == 0
    assert (await right.find()).items == []
    # At once, on either host, and their sessions live on both.
    handles = {await sign_in(right), await sign_in(other)}
    assert {item.handle for item in (await right.find()).items} == handles
    not_before = (await right.store.load([], right.clock())).not_before
    assert all(item.created_at >= not_before for item in (await right.find()).items)


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.gen_test
async def test_a_bulk_end_reaches_the_sessions_of_other_hosts(skew: float, host: Host) -> None:
    right, other = host(0), host(skew)
    await sign_in(right)
    await sign_in(other)
    kept = await sign_in(other, "eve")
    assert await right.destroy_where(user="ada") == 2
    assert [item.handle for item in (await right.find()).items] == [kept]


@pytest.mark.gen_test
async def test_a_time_that_no_clock_shows_does_not_move_the_cut_off(host: Host) -> None:
    right, broken = host(0), host(30 * 86400)
    await sign_in(broken)
    assert await right.cut_off() == right.clock()
