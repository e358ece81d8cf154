"""How many failed attempts are let through, by account, address and both."""

from __future__ import annotations

import pytest

from tornado_sessions.server.accounts import throttle
from tornado_sessions.server.accounts.errors import Throttled, WrongCredentials
from tornado_sessions.server.accounts.throttle import Throttle


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now() -> Time:
    return Time()


@pytest.fixture
def limits(now: Time) -> Throttle:
    return Throttle(now)


async def fail(limits: Throttle, name: str = "ada", ip: str = "192.0.2.1", times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(WrongCredentials):
            async with limits.log_in(name, ip):
                raise WrongCredentials


async def succeed(limits: Throttle, name: str = "ada", ip: str = "192.0.2.1") -> None:
    async with limits.log_in(name, ip):
        pass


@pytest.mark.gen_test
async def test_ten_failures_close_a_pair_until_the_oldest_is_a_quarter_of_an_hour_old(
    limits: Throttle, now: Time
) -> None:
    await fail(limits)
    now.now += 60
    await fail(limits, times=9)
    with pytest.raises(Throttled) as refused:
        await succeed(limits)
    assert refused.value.retry_after == 840
    now.now += 840
    await succeed(limits)


@pytest.mark.gen_test
async def test_a_stranger_closes_an_account_for_nobody_elsewhere(limits: Throttle) -> None:
    await fail(limits, times=10)
    await succeed(limits, ip="192.0.2.2")


@pytest.mark.gen_test
async def test_success_forgets_the_failures_of_the_pair_and_no_others(limits: Throttle) -> None:
    await fail(limits, times=9)
    await succeed(limits)
    await fail(limits, times=10)
    for number in range(31):
        await fail(limits, name=f"user{number}")
    with pytest.raises(Throttled):
        await succeed(limits, name="somebody else")


@pytest.mark.gen_test
async def test_an_account_is_closed_to_everybody_after_a_hundred_failures(limits: Throttle) -> None:
    for number in range(100):
        await fail(limits, ip=f"198.51.100.{number}")
    with pytest.raises(Throttled):
        await succeed(limits, ip="203.0.113.1")


@pytest.mark.gen_test
async def test_one_network_of_ipv6_is_one_address(limits: Throttle) -> None:
    await fail(limits, ip="2001:db8::1", times=10)
    with pytest.raises(Throttled):
        await succeed(limits, ip="2001:db8::ffff")
    await succeed(limits, ip="2001:db8:0:1::1")


@pytest.mark.gen_test
async def test_an_address_registers_sixty_accounts_an_hour(limits: Throttle, now: Time) -> None:
    for _ in range(60):
        await limits.register("192.0.2.1")
    with pytest.raises(Throttled):
        await limits.register("192.0.2.1")
    await limits.register("192.0.2.2")
    now.now += 3600
    await limits.register("192.0.2.1")


@pytest.mark.gen_test
async def test_old_names_make_room_and_recent_failures_still_count(
    limits: Throttle, now: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_MAX_KEYS", 10)
    await fail(limits, times=9)
    now.now += 3600
    for number in range(20):
        await fail(limits, name=f"user{number}", ip=f"198.51.100.{number}")
        now.now += 3600
    await fail(limits, times=10)
    with pytest.raises(Throttled):
        await succeed(limits)
