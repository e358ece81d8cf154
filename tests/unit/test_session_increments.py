"""Increments of concurrent requests add up, whatever else the requests store in between."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.amount import amount

from tornado_sessions import Record, Session
from tornado_sessions.change import apply_change
from tornado_sessions.codec import Codec
from tornado_sessions.lifecycle import write
from tornado_sessions.testing import make_record

NOW = 1000.0

#: Which request, and what it does.
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-2, 1, 3, "read", "save", "save after a conflict"])),
    min_size=12,
    max_size=40,
)


class Requests:
    """Requests of one session, each with the session as it loaded it, and what is stored."""

    def __init__(self) -> None:
        self.record = make_record(data={"n": b"10", "other": b"0"})
        self.sessions = [Session(self.record, Codec(), 65536) for _ in range(2)]

    def save(self, session: Session, *, also_conflicts: bool = False) -> None:
        """Save as ``GuardedSaves`` does: after a conflict, again from what is stored."""
        if also_conflicts:
            session.rebase(self.record)
        base: Record | None = None
        while base is not self.record:
            if base is not None:
                session.rebase(self.record)
            delta = session.delta()
            change = write(self.record, delta, NOW)
            base = self.record if self._is_met(change.expect) else msgspec.structs.replace(self.record)
        self.record = apply_change(change, self.record)
        assert session.record is not None
        session.mark_saved(apply_change(change, session.record), delta)

    def _is_met(self, expect: dict[str, bytes | None]) -> bool:
        return all(self.record.data.get(key) == value for key, value in expect.items())


@settings(max_examples=amount(150, 500))
@given(STEPS)
def test_increments_add_up(steps: list[tuple[int, int | str]]) -> None:
    requests, total = Requests(), 10
    for number, step in steps:
        session = requests.sessions[number]
        if isinstance(step, int):
            session.increment("n", step)
            total += step
        elif step == "read":
            session.get("n")
        else:
            # Any guarded change, such as a rotation, may conflict although no increment is pending.
            session["other"] = number
            requests.save(session, also_conflicts=step != "save")
    for session in requests.sessions:
        requests.save(session)
    assert Codec().decode("", requests.record.data["n"]) == total


def test_an_increment_after_another_request_has_saved_one_adds_to_that() -> None:
    requests = Requests()
    first, second = requests.sessions
    first.increment("n", 1)
    requests.save(first)
    second.increment("n", 5)
    requests.save(second)
    # A conflict of another change: the first request has nothing to add, but read a number that is no longer stored.
    first["other"] = 1
    requests.save(first, also_conflicts=True)
    first.increment("n", 1)
    requests.save(first)
    assert requests.record.data["n"] == b"17"
