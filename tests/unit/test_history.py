"""The history of a session: new tokens and new addresses, a bounded number of them, which no handler sees."""

from __future__ import annotations

import pytest

from tornado_sessions.codec import Codec
from tornado_sessions.errors import NotStorable
from tornado_sessions.history import HISTORY, Step, steps_of, with_step
from tornado_sessions.session import Session
from tornado_sessions.testing.maker import make_record


def test_the_latest_twenty_steps_are_kept_oldest_first() -> None:
    data: dict[str, bytes] = {"cart": b"[]"}
    for number in range(50):
        data |= with_step(data, Step(1000.04 + number, None if number % 2 else f"192.0.2.{number}"))
    steps = steps_of(data)
    assert [step.at for step in steps] == [1000.0 + number for number in range(30, 50)]
    assert steps[0].previous_ip == "192.0.2.30"
    assert steps[-1].previous_ip is None
    assert len(data[HISTORY]) < 700


@pytest.mark.parametrize("stored", [b"", b"{", b"1", b'[["x",null]]', b"\xff", b"[[1]", b"null"])
def test_a_damaged_history_is_none_and_is_replaced(stored: bytes) -> None:
    assert steps_of({HISTORY: stored}) == []
    assert steps_of(with_step({HISTORY: stored}, Step(5.0))) == [Step(5.0)]


def test_no_handler_sees_it() -> None:
    record = make_record(data={"a": b"1", **with_step({}, Step(5.0))})
    session = Session(record, Codec(()), 100)
    for step in ("loaded", "saved", "rebased"):
        if step == "saved":
            session.mark_saved(record, session.delta())
        elif step == "rebased":
            session.rebase(record)
        assert dict(session) == {"a": 1}, step
        assert len(session) == 1
        assert HISTORY not in session
        assert session.get(HISTORY) is None
        assert session.delta().set == {}


@pytest.mark.gen_test
async def test_no_handler_can_write_it() -> None:
    session = Session(make_record("h1", data={"a": b"1"}), Codec(), 65536)
    for write in (
        lambda: session.__setitem__(HISTORY, 1),
        lambda: session.update({"a": 2, HISTORY: 1}),
        lambda: session.setdefault(HISTORY, 1),
        lambda: session.increment(HISTORY),
    ):
        with pytest.raises(NotStorable, match="reserved"):
            write()
    with pytest.raises(NotStorable, match="reserved"):
        await session.transform(HISTORY, lambda _: 1)
    assert session.delta().set == {}
