"""The cookie of known devices: what it is good for, and what nobody can make of it."""

from __future__ import annotations

import msgspec
import pytest
from support.clock import Clock

from tornado_sessions.server.accounts.devices import DEVICE_LIFETIME, Devices
from tornado_sessions.server.accounts.user import User

KEYS = ["a secret of the tests, long enough", "an older secret of the tests, as long"]
ADA = User(name="Ada", email="ada@example.org", password_hash="hash", created_at=0, password_changed_at=1.5)


def named(name: str) -> User:
    return msgspec.structs.replace(ADA, id=name.capitalize(), name=name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def devices(clock: Clock) -> Devices:
    return Devices(KEYS, clock)


def test_a_device_is_known_to_the_account_that_signed_in_with_it_and_to_no_other(devices: Devices) -> None:
    cookie = devices.add("", ADA)
    assert devices.find(cookie, ADA)
    assert devices.find(cookie, named("ADA"))
    assert devices.find(cookie, named("bob")) is None


def test_a_new_password_makes_every_device_unknown_and_a_rehash_none(devices: Devices) -> None:
    cookie = devices.add("", ADA)
    assert devices.find(cookie, msgspec.structs.replace(ADA, password_hash="rehashed", revision=7))
    assert devices.find(cookie, msgspec.structs.replace(ADA, password_changed_at=1.6)) is None


def test_one_browser_knows_eight_accounts_and_forgets_the_least_recent(devices: Devices) -> None:
    cookie = ""
    for number in range(9):
        cookie = devices.add(cookie, named(f"user{number}"))
    known = [number for number in range(9) if devices.find(cookie, named(f"user{number}"))]
    assert known == list(range(1, 9))
    assert len(cookie) < 1024


def test_the_next_sign_in_replaces_the_entry_and_keeps_the_others(devices: Devices) -> None:
    first = devices.add(devices.add("", named("bob")), ADA)
    second = devices.add(first, ADA)
    assert len(second) == len(first)
    assert devices.find(second, named("bob")) == devices.find(first, named("bob"))
    assert devices.find(second, ADA) != devices.find(first, ADA)


def test_a_device_is_forgotten_after_its_time(devices: Devices, clock: Clock) -> None:
    cookie = devices.add("", ADA)
    clock.now += DEVICE_LIFETIME - 1
    assert devices.find(cookie, ADA)
    clock.now += 2
    assert devices.find(cookie, ADA) is None


def test_older_keys_verify_and_unknown_keys_do_not(clock: Clock) -> None:
    cookie = Devices(KEYS[1:], clock).add("", ADA)
    assert Devices(KEYS, clock).find(cookie, ADA)
    assert Devices(KEYS[:1], clock).find(cookie, ADA) is None


def test_the_cookie_names_nobody(devices: Devices) -> None:
    # "Ada" consists of hexadecimal digits, which the cookie is full of.
    assert "zoe" not in devices.add("", named("Zoe")).lower()


@pytest.mark.parametrize(
    "tamper",
    [
        lambda cookie: "",
        lambda cookie: "junk",
        lambda cookie: ":::",
        lambda cookie: "..",
        lambda cookie: cookie[:-1],
        lambda cookie: cookie + "0",
        lambda cookie: cookie.upper(),
        lambda cookie: "0" + cookie,
        lambda cookie: cookie.replace(".", ".9", 1),
        lambda cookie: cookie.partition(".")[2],
        lambda cookie: ".".join([cookie.partition(".")[0], "²", cookie.rpartition(".")[2]]),
        lambda cookie: cookie.rpartition(".")[0] + ".größe",
        lambda cookie: ":" * 9 + cookie,
        lambda cookie: "x" * 5000 + ":" + cookie,
    ],
)
def test_a_forged_cookie_is_no_known_device(devices: Devices, tamper: object) -> None:
    assert callable(tamper)
    forged = tamper(devices.add("", ADA))
    assert devices.find(forged, ADA) is None
    assert devices.find(devices.add(forged, ADA), ADA)
