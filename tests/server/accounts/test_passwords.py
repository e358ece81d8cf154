"""Hashing in threads beside the event loop."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from argon2.profiles import CHEAPEST

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.passwords import Passwords

pytestmark = pytest.mark.gen_test


def priority() -> int:
    """Return the priority of this thread; a higher number is a lower one."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
async def test_hashing_gives_way_to_the_event_loop_and_work_that_holds_pythons_lock_does_not() -> None:
    passwords = Passwords(CHEAPEST)
    try:
        await passwords.open()
        assert await passwords.hashing.run_at_once(priority) == min(19, priority() + 15)
        assert await passwords.judge(priority, Client()) == priority()
    finally:
        passwords.close()
