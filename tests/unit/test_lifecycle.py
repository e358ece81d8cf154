"""The rules as tables: who is let in, what one commit writes, when a token rotates. No event loop, no clock."""

from __future__ import annotations

import ast
from datetime import timedelta
from inspect import getsource
from typing import Any

import pytest

from tornado_sessions import SessionConfig, UsageError, lifecycle
from tornado_sessions.change import NO_CHANGES, Delta, Lifetime, own_lifetime
from tornado_sessions.history import HISTORY
from tornado_sessions.lifecycle import Verdict
from tornado_sessions.record import Cause, Change, Damaged, Record, Rotation, Tombstone, bury
from tornado_sessions.request import RequestInfo
from tornado_sessions.testing.maker import NOW, end, hash_of, make_record

CONFIG = SessionConfig()
NEWEST, PREVIOUS, OTHER = hash_of("first"), hash_of("previous"), hash_of("other")
IDLE, ABSOLUTE = 1800.0, 43200.0
GRACE = 30.0

FRESH = make_record()
#: Rotated at NOW; its newest secret has not been presented, or was at NOW + 5.
UNCONFIRMED = make_record(previous_hash=PREVIOUS, confirmed_at=None, grace=GRACE)
CONFIRMED = make_record(previous_hash=PREVIOUS, confirmed_at=NOW + 5, grace=GRACE)
TOMBSTONE = bury(FRESH, end())
DAMAGED = Damaged(handle="h1", why="created_at is no number")
LAST = NOW + IDLE - 1


class TestJudge:
    @pytest.mark.parametrize(
        ("found", "secret", "now", "not_before", "verdict"),
        [
            # what is stored      secret    when          everybody's end   verdict
            (None,                NEWEST,   NOW,          0.0,              Verdict.UNKNOWN),
            (TOMBSTONE,           NEWEST,   NOW,          0.0,              Verdict.ENDED),
            (TOMBSTONE,           OTHER,    NOW,          0.0,              Verdict.ENDED),
            (DAMAGED,             NEWEST,   NOW,          0.0,              Verdict.DAMAGED),
            (DAMAGED,             OTHER,    NOW + 1e9,    NOW,              Verdict.DAMAGED),
            (FRESH,               NEWEST,   NOW,          0.0,              Verdict.LIVE),
            (FRESH,               NEWEST,   LAST,         0.0,              Verdict.LIVE),
            (FRESH,               NEWEST,   NOW + IDLE,   0.0,              Verdict.ENDED),
            (FRESH,               NEWEST,   NOW + 1e9,    0.0,              Verdict.ENDED),
            (FRESH,               OTHER,    NOW,          0.0,              Verdict.UNKNOWN),
            (FRESH,               OTHER,    NOW + IDLE,   0.0,              Verdict.ENDED),
            (FRESH,               b"",      NOW,          0.0,              Verdict.UNKNOWN),
            (FRESH,               NEWEST,   NOW,          NOW,              Verdict.LIVE),
            (FRESH,               NEWEST,   NOW,          NOW + 1e-6,       Verdict.ENDED),
            (FRESH,               OTHER,    NOW,          NOW + 1e-6,       Verdict.ENDED),
            (UNCONFIRMED,         NEWEST,   NOW,          0.0,              Verdict.LIVE),
            (UNCONFIRMED,         PREVIOUS, NOW,          0.0,              Verdict.PREVIOUS),
            (UNCONFIRMED,         PREVIOUS, LAST,         0.0,              Verdict.PREVIOUS),
            (UNCONFIRMED,         PREVIOUS, NOW + IDLE,   0.0,              Verdict.ENDED),
            (UNCONFIRMED,         PREVIOUS, NOW,          NOW + 1e-6,       Verdict.ENDED),
            (UNCONFIRMED,         OTHER,    NOW,          0.0,              Verdict.UNKNOWN),
            (CONFIRMED,           NEWEST,   NOW + 6,      0.0,              Verdict.LIVE),
            (CONFIRMED,           PREVIOUS, NOW + 34.9,   0.0,              Verdict.PREVIOUS),
            (CONFIRMED,           PREVIOUS, NOW + 35,     0.0,              Verdict.STALE),
            (CONFIRMED,           PREVIOUS, LAST,         0.0,              Verdict.STALE),
            (CONFIRMED,           OTHER,    NOW + 35,     0.0,              Verdict.UNKNOWN),
        ],
    )  # fmt: skip
    def test_the_verdict(self, found: Any, secret: bytes, now: float, not_before: float, verdict: Verdict) -> None:
        assert lifecycle.judge(found, secret, now, not_before).verdict is verdict

    def test_after_a_sign_in_the_secret_before_it_is_as_good_as_none(self) -> None:
        record = make_record(previous_hash=None, confirmed_at=NOW, grace=0.0)
        assert lifecycle.judge(record, PREVIOUS, NOW, 0.0).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize(
        ("found", "now", "not_before", "cause", "at"),
        [
            (TOMBSTONE,                                      NOW + 9,         0.0,     Cause.OPERATOR, NOW + 1),
            (FRESH,                                          NOW + IDLE,      0.0,     Cause.IDLE,     NOW + IDLE),
            (make_record(absolute_at=NOW + 60, expires_at=NOW + 60), NOW + 60, 0.0,    Cause.ABSOLUTE, NOW + 60),
            (FRESH,                                          NOW,             NOW + 2, Cause.OPERATOR, NOW + 2),
        ],
    )  # fmt: skip
    def test_it_is_known_how_a_session_ended(
        self, found: Any, now: float, not_before: float, cause: Cause, at: float
    ) -> None:
        ended = lifecycle.judge(found, NEWEST, now, not_before).ended
        assert ended is not None
        assert (ended.handle, ended.user, ended.ending.cause, ended.ending.at) == ("h1", "ada", cause, at)

    @pytest.mark.parametrize("found", [None, DAMAGED, FRESH, UNCONFIRMED])
    def test_what_has_not_ended_has_no_tombstone(self, found: Any) -> None:
        assert lifecycle.judge(found, PREVIOUS, NOW, 0.0).ended is None


class TestTouchDue:
    @pytest.mark.parametrize(
        ("touch_after", "idle_timeout", "since", "due"),
        [
            (60, 1800.0, 59.9, False),
            (60, 1800.0, 60.0, True),
            (0, 1800.0, 0.0, True),
            # Never later than a tenth of the idle timeout.
            (60, 100.0, 9.9, False),
            (60, 100.0, 10.0, True),
            (60, 1800.0, -5.0, False),
        ],
    )
    def test_a_use_is_written_once_in_a_while(
        self, touch_after: float, idle_timeout: float, since: float, due: bool
    ) -> None:
        config = SessionConfig(touch_after=touch_after)
        record = make_record(idle_timeout=idle_timeout)
        assert lifecycle.touch_due(record, NOW + since, config) is due


ROTATING = SessionConfig(rotate_after=900)


class TestRotation:
    @pytest.mark.parametrize(
        ("record", "carried", "since", "may"),
        [
            (FRESH, NEWEST, 0, True),
            (FRESH, None, 0, False),
            (FRESH, OTHER, 0, False),
            (UNCONFIRMED, NEWEST, 0, True),
            # The newest secret may still be on its way; after the grace it has evidently been lost.
            (UNCONFIRMED, PREVIOUS, GRACE - 0.1, False),
            (UNCONFIRMED, PREVIOUS, GRACE, True),
            (CONFIRMED, NEWEST, 6, True),
            (CONFIRMED, PREVIOUS, 6, False),
            (CONFIRMED, PREVIOUS, GRACE + 100, False),
        ],
    )
    def test_who_may_rotate(self, record: Record, carried: bytes | None, since: float, may: bool) -> None:
        assert lifecycle.may_rotate(record, carried, NOW + since) is may

    @pytest.mark.parametrize(
        ("config", "record", "carried", "since", "touches", "due"),
        [
            (CONFIG, FRESH, NEWEST, 1e6, True, False),
            (ROTATING, FRESH, NEWEST, 899.9, True, False),
            (ROTATING, FRESH, NEWEST, 900, True, True),
            (ROTATING, FRESH, NEWEST, 900, False, False),
            (ROTATING, FRESH, OTHER, 900, True, False),
            (ROTATING, CONFIRMED, PREVIOUS, 900, True, False),
            # The response that carried the newest secret was lost: do not wait for the interval.
            (ROTATING, UNCONFIRMED, PREVIOUS, GRACE, True, True),
            (ROTATING, UNCONFIRMED, PREVIOUS, GRACE - 0.1, True, False),
            (SessionConfig(rotate_after=0), FRESH, NEWEST, 0, True, True),
        ],
    )
    def test_when_one_is_due(
        self, config: SessionConfig, record: Record, carried: bytes, since: float, touches: bool, due: bool
    ) -> None:
        info = RequestInfo(NOW + since, touches=touches)
        assert lifecycle.rotation_due(record, carried, info, config) is due

    def test_by_time_the_secret_that_was_carried_stays_good_for_the_grace(self) -> None:
        made = lifecycle.rotation(UNCONFIRMED, OTHER, PREVIOUS, NOW + 50, GRACE)
        assert made == Rotation(
            expected_hash=NEWEST, secret_hash=OTHER, previous_hash=PREVIOUS, rotated_at=NOW + 50, confirmed_at=None,
            grace=GRACE,
        )  # fmt: skip

    def test_at_a_sign_in_every_older_secret_is_dead_at_once(self) -> None:
        made = lifecycle.rotation(CONFIRMED, OTHER, NEWEST, NOW + 50, None)
        assert (made.previous_hash, made.confirmed_at, made.grace) == (None, NOW + 50, 0.0)


class TestDue:
    @pytest.mark.parametrize(
        ("record", "carried", "since", "touches", "due"),
        [
            (FRESH, NEWEST, 59, True, False),
            (FRESH, NEWEST, 60, True, True),
            (FRESH, NEWEST, 60, False, False),
            # The first time that the newest secret arrives is written whatever else is due.
            (UNCONFIRMED, NEWEST, 1, True, True),
            (UNCONFIRMED, NEWEST, 1, False, True),
            (UNCONFIRMED, PREVIOUS, 1, True, False),
            (CONFIRMED, NEWEST, 6, True, False),
        ],
    )
    def test_what_a_request_without_changes_writes(
        self, record: Record, carried: bytes, since: float, touches: bool, due: bool
    ) -> None:
        info = RequestInfo(NOW + since, "192.0.2.1", "Firefox", touches)
        assert lifecycle.due(record, carried, info, CONFIG) is due
        # The two can never disagree: what is due is what a plan writes.
        assert (lifecycle.plan(record, carried, NO_CHANGES, info, CONFIG) is not None) is due


def planned(
    delta: Delta = NO_CHANGES,
    *,
    record: Record = FRESH,
    carried: bytes = NEWEST,
    since: float = 1.0,
    config: SessionConfig = CONFIG,
    touches: bool = True,
    rotate: Rotation | None = None,
    user: str | None = None,
    ip: str = "192.0.2.1",
) -> Change | None:
    info = RequestInfo(NOW + since, ip, "Firefox", touches)
    return lifecycle.plan(record, carried, delta, info, config, rotate, user)


def written(change: Change | None) -> dict[str, Any]:
    """The fields of a change that say something."""
    assert change is not None
    empty = Change(handle=change.handle, now=change.now)
    names = [name for name in Change.__struct_fields__ if getattr(change, name) != getattr(empty, name)]
    return {name: getattr(change, name) for name in names}


VALUES = Delta(set={"a": b"2"}, delete=frozenset({"b"}), clear=True, expect={"a": b"1"})
NEW_SECRET = lifecycle.rotation(FRESH, OTHER, NEWEST, NOW + 1, GRACE)
SIGN_IN = lifecycle.rotation(FRESH, OTHER, NEWEST, NOW + 1, None)


class TestPlan:
    def test_nothing_is_written_when_nothing_is_to_be_said(self) -> None:
        assert planned() is None
        assert planned(ip="203.0.113.5") is None

    def test_between_two_touches_values_are_written_alone(self) -> None:
        change = planned(VALUES)
        assert written(change) == {"set": {"a": b"2"}, "delete": {"b"}, "clear": True, "expect": {"a": b"1"}}
        assert change is not None
        assert change.is_of_values_only

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"since": 60}, {"last_seen_at": NOW + 60, "expires_at": NOW + 60 + IDLE}),
            ({"since": 60, "touches": False, "delta": VALUES}, None),
            ({"since": 60, "config": SessionConfig(rolling=False)}, {"last_seen_at": NOW + 60}),
            ({"since": ABSOLUTE - 10}, {"last_seen_at": NOW + ABSOLUTE - 10, "expires_at": NOW + ABSOLUTE}),
            (
                {"since": 60, "ip": "203.0.113.5"},
                {
                    "last_seen_at": NOW + 60, "expires_at": NOW + 60 + IDLE, "ip": "203.0.113.5",
                    "set": {HISTORY: b'[[1800000060.0,"192.0.2.1"]]'},
                },
            ),
            ({"record": UNCONFIRMED}, {"confirmed_at": NOW + 1, "confirms": NEWEST}),
            ({"record": UNCONFIRMED, "touches": False}, {"confirmed_at": NOW + 1, "confirms": NEWEST}),
            (
                {"rotate": NEW_SECRET},
                {
                    "rotation": NEW_SECRET, "last_seen_at": NOW + 1, "expires_at": NOW + 1 + IDLE,
                    "set": {HISTORY: b"[[1800000001.0,null]]"},
                },
            ),
            # A rotation says itself whether the newest secret is confirmed.
            (
                {"rotate": NEW_SECRET, "record": UNCONFIRMED},
                {
                    "rotation": NEW_SECRET, "last_seen_at": NOW + 1, "expires_at": NOW + 1 + IDLE,
                    "set": {HISTORY: b"[[1800000001.0,null]]"},
                },
            ),
            (
                {"rotate": SIGN_IN, "user": "bob"},
                {
                    "rotation": SIGN_IN, "user": "bob", "signed_in_at": NOW + 1, "last_seen_at": NOW + 1,
                    "expires_at": NOW + 1 + IDLE,
                },
            ),
            (
                {"delta": Delta(lifetime=Lifetime(86400.0, True, 600.0))},
                {"lifetime": (NOW + 86401, 600.0, True), "last_seen_at": NOW + 1, "expires_at": NOW + 601},
            ),
            (
                {"delta": Delta(lifetime=Lifetime(60.0, False, 600.0))},
                {"lifetime": (NOW + 61, 60.0, False), "last_seen_at": NOW + 1, "expires_at": NOW + 61},
            ),
        ],
    )  # fmt: skip
    def test_what_is_written(self, arguments: dict[str, Any], expected: dict[str, Any] | None) -> None:
        if expected is None:
            assert written(planned(**arguments)) == written(planned(VALUES))
        else:
            assert written(planned(**arguments)) == expected


class TestMake:
    MOMENT = RequestInfo(NOW, "192.0.2.1", "Firefox")

    def test_a_visitor_starts_with_the_configured_limits(self) -> None:
        made = lifecycle.make("h1", NEWEST, Delta(set={"a": b"1"}), self.MOMENT, CONFIG)
        assert made == make_record(user=None, signed_in_at=None)

    def test_a_user_has_signed_in_now(self) -> None:
        made = lifecycle.make("h1", NEWEST, Delta(set={"a": b"1"}), self.MOMENT, CONFIG, "ada")
        assert made == FRESH

    @pytest.mark.parametrize(
        ("config", "lifetime", "idle", "absolute", "expires", "persistent"),
        [
            (SessionConfig(persistent=True), None, IDLE, ABSOLUTE, IDLE, True),
            (SessionConfig(idle_timeout=100, absolute_timeout=60), None, 100.0, 60.0, 60.0, False),
            (CONFIG, Lifetime(86400.0, True), 86400.0, 86400.0, 86400.0, True),
            (CONFIG, Lifetime(86400.0, False, 600.0), 600.0, 86400.0, 600.0, False),
            (SessionConfig(persistent=True), Lifetime(60.0, False, 600.0), 60.0, 60.0, 60.0, False),
        ],
    )
    def test_a_lifetime_of_its_own_replaces_them(
        self,
        config: SessionConfig,
        lifetime: Lifetime | None,
        idle: float,
        absolute: float,
        expires: float,
        persistent: bool,
    ) -> None:
        made = lifecycle.make("h1", NEWEST, Delta(lifetime=lifetime), self.MOMENT, config)
        assert (made.idle_timeout, made.absolute_at, made.expires_at, made.persistent) == (
            idle,
            NOW + absolute,
            NOW + expires,
            persistent,
        )

    def test_it_is_never_older_than_everybodys_end(self) -> None:
        made = lifecycle.make("h1", NEWEST, NO_CHANGES, self.MOMENT, CONFIG, "ada", NOW + 300)
        assert made.created_at == made.signed_in_at == made.last_seen_at == NOW + 300
        assert lifecycle.judge(made, NEWEST, NOW, NOW + 300).verdict is Verdict.LIVE

    def test_its_data_is_its_own(self) -> None:
        delta = Delta(set={"a": b"1"})
        lifecycle.make("h1", NEWEST, delta, self.MOMENT, CONFIG).data["b"] = b"2"
        assert delta.set == {"a": b"1"}


class TestMaxAge:
    @pytest.mark.parametrize(
        ("persistent", "since", "age"), [(False, 0, None), (True, 0, IDLE), (True, 100, IDLE - 100)]
    )
    def test_a_persistent_cookie_lives_as_long_as_the_session(
        self, persistent: bool, since: float, age: float | None
    ) -> None:
        assert lifecycle.max_age(make_record(persistent=persistent), NOW + since) == age


class TestEnding:
    def test_it_is_kept_as_long_as_configured(self) -> None:
        made = lifecycle.ending(NOW, SessionConfig(keep_ended_for=60), Cause.THEFT, by="root", reason="why")
        assert (made.at, made.keep_until, made.cause, made.by, made.reason) == (
            NOW,
            NOW + 60,
            Cause.THEFT,
            "root",
            "why",
        )

    @pytest.mark.parametrize(("length", "kept"), [(0, 0), (500, 500), (501, 500), (100_000, 500)])
    def test_a_long_reason_is_cut_where_it_shows(self, length: int, kept: int) -> None:
        reason = lifecycle.ending(NOW, CONFIG, Cause.OPERATOR, reason="x" * length).reason
        assert len(reason) == kept
        assert reason.endswith("…") is (length > 500)

    @pytest.mark.parametrize("cause", Cause)
    def test_a_cause_may_be_given_by_its_value(self, cause: Cause) -> None:
        assert lifecycle.ending(NOW, CONFIG, cause.value).cause is cause


class TestOwnLifetime:
    @pytest.mark.parametrize("seconds", [60, 60.0, timedelta(minutes=1)])
    def test_seconds_and_timedelta_are_the_same(self, seconds: Any) -> None:
        assert own_lifetime(seconds, seconds, True) == Lifetime(60.0, True, 60.0)

    @pytest.mark.parametrize(
        "wrong", [0, -1, float("nan"), float("inf"), 400 * 86400 + 1, True, "60", 10**400, timedelta(0), b"1", [60]]
    )
    def test_anything_else_is_refused(self, wrong: Any) -> None:
        with pytest.raises(UsageError, match="lifetime must be a number of seconds"):
            own_lifetime(wrong, None, True)
        with pytest.raises(UsageError, match="idle_timeout must be a number of seconds"):
            own_lifetime(60, wrong, True)


def test_the_rules_import_neither_a_loop_nor_a_clock() -> None:
    tree = ast.parse(getsource(lifecycle))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & {"asyncio", "time", "tornado", "random"}


def test_every_tombstone_shows_the_facts_of_its_session() -> None:
    assert isinstance(TOMBSTONE, Tombstone)
    assert (TOMBSTONE.handle, TOMBSTONE.user, TOMBSTONE.ip) == ("h1", "ada", "192.0.2.1")
