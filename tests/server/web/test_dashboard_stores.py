"""The dashboard of an application on every kind of store: its log, jobs and proofs lie beside the sessions there."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.clock import Clock
from support.mounted import FullPeople, delete, made, mounted, rows, signed_in
from support.urls import COMMON_BACKENDS, url_of


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", COMMON_BACKENDS)
@pytest.mark.gen_test(timeout=30)
async def test_operators_end_sessions_on_every_store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    clock = Clock(now=None)
    async with mounted(made(FullPeople(), clock=clock, url=url_of(kind, request, tmp_path))) as browser:
        admin, first, second, viewer = [await signed_in(browser, user) for user in ("4", "1", "1", "2")]
        assert sorted(row["user"] for row in await rows(admin)) == ["1", "1", "2", "4"]
        handles = [row["handle"] for row in await rows(admin) if row["user"] == "1"]
        # One.
        assert (await delete(admin, f"/ops/api/sessions/{handles[0]}")).code == 204
        left = [(await person.get("/visit")).body for person in (first, second)]
        assert sorted(left) == [b"1", b"nobody"]
        # All that match, after the password.
        clock.now += 301
        fields = {"user": "1", "confirm": "1", "expected": "1", "reason": "lost", "why": "lost"}
        assert (await admin.post("/ops/end", {**fields, "password": "no"}, page="/ops/")).code == 400
        assert (await admin.post("/ops/end", {**fields, "password": "password of 4"}, page="/ops/")).code == 303
        assert {(await person.get("/visit")).body for person in (first, second)} == {b"nobody"}
        assert (await viewer.get("/visit")).body == b"2"
        # The operator's own.
        [own] = [row["handle"] for row in await rows(admin, own=True)]
        log = (await admin.get("/ops/audit")).body.decode()
        assert (await delete(admin, f"/ops/api/sessions/{own}")).code == 204
        assert (await admin.get("/ops/")).code == 401
    for word in (handles[0], "lost", "Name 4"):
        assert word in log
