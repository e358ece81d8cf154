"""Every store has the methods of the contract, in its order and with its arguments: who knows one of them knows all."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tornado_sessions.stores import Store
from tornado_sessions.stores.dual import DualStore
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.stores.mongo import MongoStore
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.stores.sqlite import SQLiteStore

STORES = [MemoryStore, SQLiteStore, RedisStore, MongoStore, DualStore]
CONTRACT = [name for name, member in vars(Store).items() if not name.startswith("_") and callable(getattr(Store, name))]


def methods_of(store: type[Store]) -> list[str]:
    return [name for name in vars(store) if name in CONTRACT]


def arguments_of(store: type[Any], name: str) -> list[tuple[str, Any]]:
    return [(each.name, each.default) for each in inspect.signature(getattr(store, name)).parameters.values()]


@pytest.mark.parametrize("store", STORES)
def test_methods_come_in_the_order_of_the_contract(store: type[Store]) -> None:
    assert methods_of(store) == [name for name in CONTRACT if name in vars(store)]


@pytest.mark.parametrize("store", STORES)
def test_a_store_leaves_out_nothing_but_what_check_asks_and_answers_at_once(store: type[Store]) -> None:
    assert set(CONTRACT) - set(methods_of(store)) <= {"diagnose", "peek", "probe_handles"}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("name", CONTRACT)
def test_arguments_have_the_same_names_and_defaults(store: type[Store], name: str) -> None:
    assert arguments_of(store, name) == arguments_of(Store, name)
