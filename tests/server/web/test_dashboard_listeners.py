"""What happens to sessions reaches the application that listens, and the log of each dashboard once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.browser import Browser
from support.clock import Clock
from support.mounted import FullPeople, made, mounted, signed_in
from support.other_system import OtherSystem
from support.passwords import SECRET

from tornado_sessions import Moved, SessionConfig, SessionEvent, Sessions, StoreCall, TakenOver, Theft
from tornado_sessions.server import Dashboard
from tornado_sessions.takeover import ForeignSession

#: The actions in the log, by the events of the library.
ACTIONS = {Theft: "old token presented", Moved: "address changed", TakenOver: "session taken over"}


async def cause_everything(browser: Browser, clock: Clock) -> None:
    """Cause a sign of theft, a move, and a takeover."""
    victim = await signed_in(browser, "2")
    thief = victim.copy()
    await victim.get("/visit?rotate=1")
    await victim.get("/visit")
    clock.now += 120
    assert (await thief.get("/visit")).body == b"nobody"
    assert (await victim.get("/visit", X_Forwarded_For="192.0.2.9")).body == b"2"
    assert (await Browser(browser.client, browser.base).send("GET", "/visit", Cookie="old=one")).body == b"1"


async def logged(browser: Browser, prefix: str) -> list[str]:
    """The actions in the log of a dashboard that report events."""
    lines = (await (await signed_in(browser, "4")).get(f"{prefix}/audit.jsonl")).body.decode().splitlines()
    return sorted(entry["act"] for entry in map(json.loads, lines) if entry.get("act") in ACTIONS.values())


def with_takeover(clock: Clock, url: str) -> Sessions:
    config = SessionConfig(trusted_proxies=["127.0.0.1"])
    return Sessions(url, secret=SECRET, config=config, clock=clock, takeover=OtherSystem(one=ForeignSession({}, "1")))


@pytest.mark.gen_test
async def test_the_application_and_two_dashboards_with_logs_of_their_own_hear_everything_once() -> None:
    clock = Clock(now=None)
    sessions, heard = with_takeover(clock, "memory://"), []
    measured: list[StoreCall] = []

    def hear(event: SessionEvent) -> None:
        heard.append(type(event))

    for kind in ACTIONS:
        sessions.on(kind, hear)
    sessions.measure(measured.append)
    pair = [(sessions, Dashboard(sessions, people=FullPeople(), prefix=prefix)) for prefix in ("/one", "/two")]
    async with mounted(*pair) as browser:
        await cause_everything(browser, clock)
        await sessions.deliver_events()
        assert sorted(heard, key=str) == sorted(ACTIONS, key=str)
        for prefix in ("/one", "/two"):
            assert await logged(browser, prefix) == sorted(ACTIONS.values())
        await sessions.destroy_user("1")
        assert [call.ended for call in measured if call.operation == "destroy_user"] == [1]


@pytest.mark.gen_test
async def test_dashboards_that_share_a_log_record_what_happens_once(tmp_path: Path) -> None:
    """Also when the one that recorded is closed first."""
    clock = Clock(now=None)
    sessions = with_takeover(clock, f"sqlite:///{tmp_path}/sessions.db")
    (_, first), second = [
        (sessions, Dashboard(sessions, people=FullPeople(), prefix=prefix)) for prefix in ("/one", "/two")
    ]
    async with mounted((sessions, first), second) as browser:
        await cause_everything(browser, clock)
        await sessions.deliver_events()
        assert await logged(browser, "/two") == sorted(ACTIONS.values())
        await first.close()
        again = await signed_in(browser, "1")
        clock.now += 120
        await again.get("/visit", X_Forwarded_For="192.0.2.7")
        await sessions.deliver_events()
        assert await logged(browser, "/two") == sorted([*ACTIONS.values(), "address changed"])


@pytest.mark.gen_test
async def test_an_application_that_measures_badly_disturbs_nobody() -> None:
    sessions, dashboard = made(FullPeople())

    def fail(_call: StoreCall) -> None:
        raise ValueError("no metrics today")

    stop = sessions.measure(fail)
    async with mounted((sessions, dashboard)) as browser:
        admin = await signed_in(browser, "4")
        assert (await admin.get("/ops/")).code == 200
        stop()
