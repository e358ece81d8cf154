"""The rules of operations, without a store: bounds, required values, and who may do what."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from tornado_sessions.query import Where
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import BY_OPERATORS, Action
from tornado_sessions.server.operations.errors import HasGrown, InvalidInput, NotPermitted
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.operations.selections import Everybody, Handles, Matching, OfUser, Selection, select
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role

NO_DURATION = [math.nan, math.inf, -math.inf, -1.0, 0.0, 0.999, 1e300]


@pytest.mark.parametrize("seconds", [*NO_DURATION, 3650 * rules.DAY + 1])
def test_a_token_lives_for_a_second_to_ten_years(seconds: float) -> None:
    with pytest.raises(InvalidInput):
        rules.check_token_lifetime(seconds)


@pytest.mark.parametrize("seconds", [*NO_DURATION, 366 * rules.DAY + 1])
def test_sign_ins_are_blocked_for_a_second_to_a_year(seconds: float) -> None:
    with pytest.raises(InvalidInput):
        rules.block_seconds(seconds)


def test_bounds_are_good_values() -> None:
    assert rules.check_token_lifetime(None) is None
    assert rules.check_token_lifetime(1.0) == 1.0
    assert rules.check_token_lifetime(3650 * rules.DAY) == 3650 * rules.DAY
    assert rules.block_seconds(366 * rules.DAY) == 366 * rules.DAY
    assert rules.check_token_name(" " + "x" * 64 + " ") == "x" * 64
    assert len(rules.check_handles([f"h{number}" for number in range(500)])) == 500


@pytest.mark.parametrize("text", ["", "x", "1_000", "１", "0x10"])
def test_a_number_is_typed_in_digits(text: str) -> None:
    with pytest.raises(InvalidInput, match="days must be a number"):
        rules.number(text, "days")


@pytest.mark.parametrize("action", sorted(BY_OPERATORS))
@pytest.mark.parametrize("role", Role)
def test_an_action_needs_its_role_or_a_higher_one(role: Role, action: Action) -> None:
    if role.at_least(rules.REQUIRED_ROLE[action]):
        rules.permit(role, action)
    else:
        with pytest.raises(NotPermitted):
            rules.permit(role, action)


def test_every_action_of_operators_has_a_role_and_no_other_has_one() -> None:
    assert set(rules.REQUIRED_ROLE) == BY_OPERATORS


@pytest.mark.parametrize(
    ("role", "blocked", "allowed"),
    [
        (Role.VIEWER, None, False),
        (Role.OPERATOR, None, True),
        (Role.OPERATOR, Role.USER, True),
        (Role.OPERATOR, Role.VIEWER, False),
        (Role.ADMIN, Role.ADMIN, True),
    ],
)
def test_only_an_admin_blocks_staff(role: Role, blocked: Role | None, allowed: bool) -> None:
    assert rules.may_block(role, Person("1", "Ada", blocked)) is allowed


def test_a_host_application_may_write_a_role_as_text() -> None:
    assert Person("1", "Ada", "operator").role is Role.OPERATOR  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="god"):
        Person("1", "Ada", "god")  # type: ignore[arg-type]


def test_a_tenth_more_sessions_than_were_shown_is_not_too_many() -> None:
    rules.check_growth(110, 100)
    rules.check_growth(0, 0)
    for total, expected in ((111, 100), (1, 0)):
        with pytest.raises(HasGrown):
            rules.check_growth(total, expected)


def test_scopes_and_handles_are_kept_once_and_in_order() -> None:
    assert rules.check_scopes(["sessions:end", "sessions:read", "sessions:end"]) == [Scope.END, Scope.READ]
    assert rules.check_handles(["b", "a", "b"]) == ["b", "a"]


@pytest.mark.parametrize("wrong", [{}, {"handles": []}, {"handles": [""]}, {"user": ""}, {"where": Where()}])
def test_a_selection_that_selects_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        select(100.0, **wrong)  # type: ignore[arg-type]


def test_everything_that_selects_is_refused_beside_something_else() -> None:
    given = {"handles": ["h"], "user": "ada", "where": Where(user="ada"), "everybody": Everybody()}
    for two in combinations(given.items(), 2):
        with pytest.raises(InvalidInput, match="Choose one of"):
            select(100.0, **dict(two))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selection", "action"),
    [
        (Handles(["h"]), Action.END_SESSION),
        (OfUser("ada"), Action.END_USER),
        (Matching(Where(ip="::1")), Action.END_MATCHING),
        (Everybody(), Action.END_EVERYBODY),
    ],
)
def test_each_selection_is_recorded_as_its_own_action(selection: Selection, action: Action) -> None:
    assert selection.action is action


def test_filters_match_nothing_that_is_created_after_the_selection() -> None:
    selected = select(100.0, where=Where(ip="::1"))
    assert selected == Matching(Where(ip="::1", created_until=100.0))
