"""The kit can fail: each fault has a store with it and the check that catches it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from support.damageable import Damageable, DamageableMaker
from testing import broken_damage as damaged
from testing import broken_ends as ends

from tornado_sessions.change import as_of
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.record import Change, Conflict, Create, Ending, Loaded, Outcome, Record, Tombstone
from tornado_sessions.stores import Store
from tornado_sessions.stores.base import Found
from tornado_sessions.stores.cursor import edge_of
from tornado_sessions.stores.memory import MemoryData, MemoryStore
from tornado_sessions.testing import (
    STORE_CHECKS,
    Damage,
    StoreMaker,
    damage,
    directions,
    ending,
    everybody,
    finding,
    make_record,
    saving,
    swapping,
)
from tornado_sessions.testing.model import store_machine

replace = msgspec.structs.replace
Answers = list[Outcome | Conflict | Exception]


class RevivesDestroyed(MemoryStore):
    """A save is an upsert."""

    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        for item in changes:
            self.data.tombstones.pop(item.handle, None)
            if isinstance(item, Change) and item.handle not in self.data.records:
                self.data.put(make_record(item.handle))
        return await super().save(changes)


class AdoptsUsedHandles(MemoryStore):
    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        for item in changes:
            if isinstance(item, Create):
                self.data.remove(item.handle)
        return await super().save(changes)


class ForgetsExpiry(MemoryStore):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        return await super().load(handles, 0.0)


class Edited(MemoryStore):
    """Changes what is asked for before it is done."""

    def edit(self, change: Change) -> Change:
        raise NotImplementedError

    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        answers: Answers = []
        for item in changes:
            answers += await super().save([self.edit(item) if isinstance(item, Change) else item])
        return answers


class MergesNothing(Edited):
    def edit(self, change: Change) -> Change:
        return replace(change, clear=True)


class IgnoresClear(Edited):
    def edit(self, change: Change) -> Change:
        return replace(change, clear=False)


class IgnoresExpect(Edited):
    def edit(self, change: Change) -> Change:
        return replace(change, expect={})


class IgnoresLifetime(Edited):
    def edit(self, change: Change) -> Change:
        return replace(change, lifetime=None)


class RotatesUnguarded(Edited):
    def edit(self, change: Change) -> Change:
        record = self.data.records.get(change.handle)
        if change.rotation is None or record is None:
            return change
        return replace(change, rotation=replace(change.rotation, expected_hash=record.secret_hash))


class ConfirmsAnything(Edited):
    def edit(self, change: Change) -> Change:
        record = self.data.records.get(change.handle)
        return replace(change, confirms=record.secret_hash) if record and change.confirms else change


class Rewinds(Edited):
    def edit(self, change: Change) -> Change:
        record = self.data.records.get(change.handle)
        if record is not None and change.last_seen_at is not None:
            self.data.put(replace(record, last_seen_at=0.0, expires_at=change.now + 1))
        return change


class AnswersForTheWholeBatch(MemoryStore):
    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        answers = await super().save(changes)
        return [answers[0]] * len(answers)


class LosesFields(MemoryStore):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        found = await super().load(handles, now)
        records = [replace(item, grace=0.0) if isinstance(item, Record) else item for item in found.records]
        return Loaded(records, found.not_before)


class SkipsUnknown(MemoryStore):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        found = await super().load(handles, now)
        return Loaded([item for item in found.records if item is not None], found.not_before)


class LeavesNoTombstone(MemoryStore):
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        ended = await super().destroy(handles, ending)
        self.data.tombstones.clear()
        return ended


class NamesWhatWasNotLive(MemoryStore):
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        await super().destroy(handles, ending)
        return list(handles)


class SparesNobody(MemoryStore):
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        return await super().destroy_user(user, ending, at_most=at_most)


class EndsMoreThanWasAsked(MemoryStore):
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        return (await super().destroy_user(user, ending, except_handle))[:at_most]


class NeverRemoves(MemoryStore):
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        return 0


class RemovesWithoutLimit(MemoryStore):
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        return await super().expire(now, ending_kept_for)


class ForgetsNotBefore(MemoryStore):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        return Loaded((await super().load(handles, now)).records, 0.0)


class MovesNotBeforeBack(MemoryStore):
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        self.data.not_before = not_before or ending.at
        return self.data.not_before


class TellsNobody(MemoryStore):
    def __init__(self, data: MemoryData | None = None) -> None:
        super().__init__(data)
        self.data.publish = lambda event: None  # type: ignore[method-assign]


class ForgetsAtClose(MemoryStore):
    async def close(self) -> None:
        await super().close()
        self.data.records.clear()


class GivesWithoutTaking(MemoryStore):
    async def take(self, handle: str, ending: Ending) -> Record | None:
        return self.data.records.get(handle)


class Unsorted(MemoryStore):
    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        return page._replace(items=sorted(page.items, key=lambda item: item.handle))


class LosesTheLastOfAPage(MemoryStore):
    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        return Page(page.items[:-1] if page.next_cursor else page.items, page.next_cursor)


class GivesUpAtTheDead(MemoryStore):
    async def find(self, query: Query) -> Page:
        dead = any(item.expires_at <= query.now for item in self.data.records.values())
        return Page([], None) if dead else await super().find(query)


class Asked(MemoryStore):
    """Changes what is looked for."""

    def ask(self, query: Query) -> Query:
        raise NotImplementedError

    async def find(self, query: Query) -> Page:
        return await super().find(self.ask(query))

    async def count(self, query: Query) -> Count:
        return await super().count(self.ask(query))


class IgnoresFilters(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, ip=None)


class IgnoresText(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, text=None)


class MindsTheCase(MemoryStore):
    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        words = [(item.user or "", item.handle, item.ip) for item in page.items]
        kept = [
            item
            for item, each in zip(page.items, words, strict=True)
            if any(w.startswith(query.text or "") for w in each)
        ]
        return page._replace(items=kept)


class IgnoresDevices(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, device=None)


class IgnoresOrders(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, sort=Sort.LAST_SEEN)


class IgnoresDirections(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, direction=None)


class RefusesDirections(Asked):
    """Knows no direction of ended sessions."""

    def ask(self, query: Query) -> Query:
        return replace(query, direction=None) if query.state is State.ENDED else query


class KnowsNoWayBack(MemoryStore):
    async def find(self, query: Query) -> Page:
        return (await super().find(query))._replace(previous_cursor=None)


class StartsAgain(MemoryStore):
    """Each page back is the first one."""

    async def find(self, query: Query) -> Page:
        is_back = query.cursor is not None and query.cursor.startswith("~")
        return await super().find(replace(query, cursor=None) if is_back else query)


class ListsTheDead(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, now=0.0)


class ListsNoEnded(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, state="live")


class GuessesCursors(MemoryStore):
    async def find(self, query: Query) -> Page:
        try:
            return await super().find(query)
        except ValueError:
            return await super().find(replace(query, cursor=None))


class TakesFarPlacesForTheStart(MemoryStore):
    async def find(self, query: Query) -> Page:
        edge = edge_of(query)
        is_far = edge is not None and abs(edge.key.at) > 1e11
        return await super().find(replace(query, cursor=None) if is_far else query)


class TakesNamesForPatterns(Asked):
    def ask(self, query: Query) -> Query:
        return replace(query, user=None) if query.user == "%" else query


class KeepsOldIndex(MemoryStore):
    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        answers = await super().save(changes)
        for name, handles in list(self.data.lists.items()):
            if name == ("ip", "10.0.0.2"):
                self.data.lists["ip", "10.0.0.1"] = handles
        return answers

    async def find(self, query: Query) -> Page:
        return await super().find(replace(query, ip=None) if query.ip == "10.0.0.1" else query)


class ChokesOnNothing(MemoryStore):
    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        return [(await super().save(changes))[0]]


class TouchesKeys(MemoryStore):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        found = await super().load(handles, now)
        records = [
            replace(item, data={key.replace("$", "_"): value for key, value in item.data.items()})
            if isinstance(item, Record)
            else item
            for item in found.records
        ]
        return Loaded(records, found.not_before)


class AnswersFromBefore(MemoryStore):
    """Remembers its first answer for a handle."""

    def __init__(self, data: MemoryData | None = None) -> None:
        super().__init__(data)
        self._answers: dict[str, Found] = {}

    def peek(self, handle: str) -> Found:
        return self._answers.setdefault(handle, super().peek(handle))

    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        found = [super(AnswersFromBefore, self).peek(handle)[0] for handle in handles]
        return Loaded([as_of(item, now) for item in found], self.data.not_before)


class KeepsTombstones(MemoryStore):
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        kept: dict[str, Tombstone] = dict(self.data.tombstones)
        removed = await super().expire(now, ending_kept_for, limit)
        self.data.tombstones.update(kept)
        return removed


Check = Callable[[StoreMaker], Awaitable[None]]
BROKEN: list[tuple[type[MemoryStore], Check]] = [
    (RevivesDestroyed, ending.check_a_late_write_brings_nothing_back),
    (AdoptsUsedHandles, saving.check_a_used_handle_is_never_made_again),
    (ForgetsExpiry, ending.check_a_session_is_gone_at_the_exact_second),
    (MergesNothing, saving.check_a_change_of_one_key_keeps_the_others),
    (MergesNothing, saving.check_two_clients_keep_both_keys),
    (IgnoresClear, saving.check_clear_comes_before_set),
    (IgnoresExpect, saving.check_an_unmet_expectation_writes_nothing),
    (IgnoresExpect, saving.check_counting_by_expectation_is_exact),
    (IgnoresLifetime, saving.check_a_lifetime_replaces_the_limits),
    (RotatesUnguarded, saving.check_one_of_two_rotations_wins),
    (ConfirmsAnything, saving.check_only_the_newest_secret_is_confirmed_and_once),
    (Rewinds, saving.check_times_only_move_forward),
    (AnswersForTheWholeBatch, saving.check_each_of_a_batch_gets_its_own_answer),
    (ChokesOnNothing, saving.check_an_empty_batch_is_no_error),
    (LosesFields, saving.check_a_session_comes_back_as_it_was_stored),
    (SkipsUnknown, saving.check_an_unknown_handle_is_nothing),
    (TouchesKeys, saving.check_any_bytes_and_any_key_survive),
    (LeavesNoTombstone, ending.check_a_destroyed_session_leaves_its_tombstone),
    (NamesWhatWasNotLive, ending.check_destroying_twice_is_no_error),
    (SparesNobody, ending.check_a_users_sessions_end_but_one),
    (EndsMoreThanWasAsked, ending.check_a_users_sessions_end_but_one),
    (NeverRemoves, ending.check_expired_ones_are_removed_in_steps_and_told),
    (RemovesWithoutLimit, ending.check_expired_ones_are_removed_in_steps_and_told),
    (KeepsTombstones, ending.check_old_tombstones_are_forgotten),
    (AnswersFromBefore, ending.check_an_answer_at_once_is_that_of_a_load),
    (ForgetsNotBefore, ending.check_everybody_is_out_with_one_write),
    (MovesNotBeforeBack, ending.check_everybodys_end_only_moves_forward),
    (TellsNobody, ending.check_another_client_hears_of_an_end),
    (ForgetsAtClose, ending.check_open_and_close_twice_are_harmless),
    (GivesWithoutTaking, ending.check_what_is_taken_is_whole_and_taken_once),
    (Unsorted, finding.check_the_list_is_newest_first),
    (LosesTheLastOfAPage, finding.check_paging_loses_and_doubles_nothing),
    (IgnoresFilters, finding.check_filters_by_user_address_and_handle),
    (IgnoresText, finding.check_a_prefix_finds_user_handle_and_address),
    (MindsTheCase, finding.check_a_prefix_is_found_without_regard_to_case),
    (KeepsOldIndex, finding.check_the_list_follows_a_change),
    (ListsTheDead, finding.check_the_list_shows_no_dead_session),
    (ListsNoEnded, finding.check_tombstones_have_a_list_of_their_own),
    (GuessesCursors, finding.check_a_cursor_that_makes_no_sense_is_refused),
    (TakesNamesForPatterns, finding.check_odd_user_names_are_only_names),
    (IgnoresOrders, finding.check_each_order_is_kept_page_by_page),
    (IgnoresDirections, directions.check_each_order_is_reversed),
    (KnowsNoWayBack, directions.check_the_pages_back_are_the_pages_forward),
    (StartsAgain, directions.check_the_pages_back_are_the_pages_forward),
    (StartsAgain, directions.check_many_of_one_moment_are_paged_back),
    (RefusesDirections, directions.check_tombstones_are_paged_in_both_directions),
    (LosesTheLastOfAPage, finding.check_many_of_one_moment_are_paged_in_every_order),
    (GivesUpAtTheDead, finding.check_the_dead_do_not_hide_the_living),
    (GuessesCursors, finding.check_a_cursor_of_another_order_is_refused),
    (TakesFarPlacesForTheStart, directions.check_a_page_starts_at_any_place),
    (IgnoresDevices, finding.check_every_filter_alone_and_combined),
    (IgnoresDevices, finding.check_ended_ones_are_filtered_as_well),
    (ends.TrustsItsOwnClock, everybody.check_everybody_ends_whatever_their_clock_said),
    (ends.SparesTheNewest, everybody.check_everybody_ends_whatever_their_clock_said),
    (ends.BelievesEveryClock, everybody.check_no_clock_carries_everybodys_end_away),
    (ends.TrustsItsOwnClock, everybody.check_a_slow_clock_ends_everybody),
    (ends.KeepsEverybodyOut, everybody.check_everybody_may_come_back_after_everybodys_end),
    (ends.AnswersWithWhatWasAsked, everybody.check_everybodys_end_answers_with_what_holds),
    (ends.SparesNobodyAtAll, everybody.check_everybodys_end_spares_who_came_later),
    (ends.SparesByLastUse, everybody.check_everybodys_end_spares_who_came_later),
    (ends.IgnoresASecondEnd, everybody.check_everybody_can_be_ended_again_before_the_sweep),
    (ends.LooksThroughTheEnded, everybody.check_the_ended_hide_nobody_before_they_are_swept),
    (ends.CountsTheEnded, everybody.check_the_ended_hide_nobody_before_they_are_swept),
    (ends.LooksThroughTheEnded, everybody.check_the_ended_hide_nobody_who_was_spared),
    (ends.SetsEverybodyAside, everybody.check_the_ended_hide_nobody_who_was_spared),
    (ends.SweepsByLastUse, everybody.check_the_sweep_removes_everybody_in_steps),
    (ends.ForgetsWhy, everybody.check_the_sweep_removes_everybody_in_steps),
    (ends.EndsTheEndedAgain, everybody.check_whoever_ended_with_everybody_ends_only_once),
    (ends.TellsItsOwnTime, everybody.check_everybodys_end_is_heard_with_its_time),
    (damaged.FailsTheLoad, damage.check_one_damaged_of_ten_is_loaded_as_damaged),
    (damaged.LoadsTheDamagedAsNothing, damage.check_one_damaged_of_ten_is_loaded_as_damaged),
    (damaged.SalvagesNothing, damage.check_one_damaged_of_ten_is_loaded_as_damaged),
    (damaged.TakesTheDamaged, damage.check_one_damaged_of_ten_is_loaded_as_damaged),
    (damaged.FailsTheSave, damage.check_one_damaged_of_ten_costs_a_batch_one_answer),
    (damaged.AnswersWithTheError, damage.check_one_damaged_of_ten_costs_a_batch_one_answer),
    (damaged.FailsTheList, damage.check_one_damaged_of_ten_is_a_row_of_the_list),
    (damaged.HidesTheDamaged, damage.check_one_damaged_of_ten_is_a_row_of_the_list),
    (damaged.EndsTheListAtTheDamaged, damage.check_one_damaged_of_ten_is_a_row_of_the_list),
    (damaged.FailsTheCount, damage.check_no_count_fails_for_a_damaged_one),
    (damaged.CannotEndTheDamaged, damage.check_a_damaged_one_is_ended_by_its_handle),
    (damaged.EndsTheDamagedUnseen, damage.check_a_damaged_one_is_ended_by_its_handle),
    (damaged.EndsTheDamagedInSilence, damage.check_the_end_of_a_damaged_one_is_heard),
    (damaged.StopsAtTheDamagedOfAUser, damage.check_a_damaged_one_spares_no_other_of_its_user),
    (damaged.NeverCleansPastTheDamaged, damage.check_no_clean_up_fails_for_a_damaged_one),
    (damaged.CleansForEver, damage.check_no_clean_up_fails_for_a_damaged_one),
    (damaged.IsLedAstray, damage.check_everybodys_end_reaches_past_a_damaged_one),
    (damaged.FreesTheHandle, damage.check_a_damaged_tombstone_is_a_row_of_the_list),
    (damaged.FailsTheListOfTheEnded, damage.check_a_damaged_tombstone_is_a_row_of_the_list),
    (damaged.ChokesOnADamagedTombstone, damage.check_no_clean_up_fails_for_a_damaged_tombstone),
    (ends.SwapsAnyway, swapping.check_a_value_is_swapped_only_for_the_expected_one),
    (ends.TakesNothingForEmpty, swapping.check_a_value_is_swapped_only_for_the_expected_one),
    (ends.ComparesFirst, swapping.check_one_of_many_swaps_wins),
    (ends.ComparesFirst, swapping.check_counting_by_swaps_is_exact),
    (ends.CutsNames, swapping.check_odd_names_of_values_are_only_names),
    (ends.TakesValuesForSessions, swapping.check_values_are_no_sessions),
    (ends.ForgetsAllValues, swapping.check_a_value_is_kept_until_its_time),
]


class BrokenMaker:
    damages: Sequence[Damage] = ()

    def __init__(self, make: type[MemoryStore]) -> None:
        self.make, self.data = make, MemoryData()

    async def open(self) -> Store:
        return self.make(self.data)

    async def raw_handles(self) -> set[str]:
        return set(self.data.records)

    async def damage(self, handle: str, damage: Damage) -> None:
        raise NotImplementedError(damage)

    async def close(self) -> None:
        """Nothing was opened."""


@pytest.mark.parametrize(("make", "check"), BROKEN, ids=lambda part: part.__name__)
@pytest.mark.gen_test(timeout=20)
async def test_a_check_catches_its_fault(make: type[MemoryStore], check: Check) -> None:
    caught: list[Any] = []
    try:
        await check(DamageableMaker(make) if issubclass(make, Damageable) else BrokenMaker(make))
    except (AssertionError, LookupError, TimeoutError, StoreMismatch) as error:
        caught.append(error)
    assert caught, f"{check.__name__} does not notice that a store {make.__name__}"


@pytest.mark.parametrize("check", [check for check in STORE_CHECKS if check.__module__ == damage.__name__])
@pytest.mark.gen_test(timeout=20)
async def test_a_damageable_store_that_is_not_broken_passes(check: Check) -> None:
    await check(DamageableMaker())


def test_only_the_end_of_listening_has_no_broken_store() -> None:
    assert set(STORE_CHECKS) - {check for _, check in BROKEN} == {ending.check_closing_ends_the_listening}


class LosesWrites(MemoryStore):
    """Every second save is acknowledged and forgotten."""

    saved = 0

    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        self.saved += 1
        stored = dict(self.data.records)
        answers = await super().save(changes)
        if self.saved % 2 == 0 and all(isinstance(item, Change) for item in changes):
            self.data.records.update(stored)
        return answers


class LosingMaker(BrokenMaker):
    """Stores that share their data and lose writes."""

    def __init__(self) -> None:
        super().__init__(LosesWrites)


def test_the_model_catches_a_store_that_loses_writes() -> None:
    with pytest.raises(AssertionError):
        # Found is enough: the shortest way there is of no interest.
        found = settings(max_examples=200, derandomize=True, database=None, phases=[Phase.generate])
        run_state_machine_as_test(store_machine(LosingMaker), settings=found)
