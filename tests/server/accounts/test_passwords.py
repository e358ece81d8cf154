"""Hashing in threads beside the event loop."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.passwords import Passwords


def priority() -> int:
    """Return the priority of this thread; a higher number is a lower one."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.gen_test
@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
async def test_hashing_gives_way_to_the_event_loop_and_work_that_holds_pythons_lock_does_not() -> None:
    passwords = Passwords(CHEAPEST)
    try:
        async with passwords.hashing.turn(Client()) as turn:
            assert await turn.run(priority) == min(19, priority() + 15)
        assert await passwords.judge(priority, Client()) == priority()
    finally:
        passwords.close()


@pytest.mark.parametrize("profile", [CHEAPEST, RFC_9106_LOW_MEMORY])
@pytest.mark.gen_test(timeout=60)
async def test_an_unknown_name_costs_what_a_known_one_costs(
    profile: Parameters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    verify, verified = PasswordHasher.verify, []

    def remember(hasher: PasswordHasher, hashed: str, password: bytes) -> bool:
        verified.append(hashed)
        return verify(hasher, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", remember)
    passwords = Passwords(profile)
    try:
        async with passwords.hashing.turn(Client()) as turn:
            known = await passwords.hash("right", turn)
            assert await passwords.verify(known, "right", turn)
            assert not await passwords.verify(None, "right", turn)
    finally:
        passwords.close()
    assert [extract_parameters(each) for each in verified] == [profile] * 2
    assert not caplog.records, "a hash that nobody can read costs no time"
