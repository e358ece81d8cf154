"""Who is next, when many clients want something at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.waiting import one_turn, until

from tornado_sessions.server.web.turns import Turns


class Item:
    def __init__(self, name: str, started: list[str]) -> None:
        self.name, self._started = name, started

    def start(self) -> None:
        self._started.append(self.name)


def queue(*, number: int = 2, is_hurried: Callable[[], bool] = lambda: False) -> tuple[Turns[Item], list[str]]:
    return Turns(number, is_hurried, 0.001), []


def add(turns: Turns[Item], started: list[str], client: str, many: int = 1) -> None:
    for _ in range(many):
        turns.add(client, Item(client, started))


@pytest.mark.gen_test
async def test_a_few_items_are_started_in_a_turn_and_the_others_later() -> None:
    turns, started = queue(number=3)
    add(turns, started, "a", 8)
    await one_turn()
    assert (len(started), len(turns)) == (3, 5)
    await one_turn(2)
    assert (len(started), len(turns)) == (8, 0)


@pytest.mark.gen_test
async def test_a_person_comes_before_what_a_crowd_has_waiting() -> None:
    turns, started = queue()
    for crowd in ("a", "b", "c"):
        add(turns, started, crowd, 50)
    await one_turn(10)
    add(turns, started, "person")
    await one_turn()
    assert "person" in started[-2:]


@pytest.mark.gen_test
async def test_many_small_clients_do_not_starve_a_large_one() -> None:
    turns, started = queue()
    add(turns, started, "office", 300)
    await one_turn(40)
    for number in range(40):
        add(turns, started, f"small {number}")
    before = started.count("office")
    await one_turn(20)
    assert started.count("office") > before


@pytest.mark.gen_test
async def test_in_a_hurry_crowds_get_little_and_modest_clients_go_on() -> None:
    hurry = [False]
    turns, started = queue(is_hurried=lambda: hurry[0])
    add(turns, started, "crowd", 300)
    await one_turn(50)
    assert not turns.is_modest("crowd")
    hurry[0] = True
    before = len(started)
    await one_turn(10)
    assert len(started) - before < 10
    add(turns, started, "person")
    assert turns.is_modest("person")
    await one_turn()
    assert "person" in started
    await until(lambda: not len(turns), "the end of the crowd")


@pytest.mark.gen_test
async def test_what_is_taken_back_is_the_last_of_the_largest() -> None:
    turns, started = queue()
    assert turns.take_back(0) is None
    add(turns, started, "few", 2)
    add(turns, started, "many", 4)
    assert turns.take_back(5) is None
    taken = turns.take_back(4)
    assert taken is not None
    assert taken.name == "many"
    await one_turn(5)
    assert sorted(started) == ["few"] * 2 + ["many"] * 3
