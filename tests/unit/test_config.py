"""Options: what is refused, and that no secret is shown."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.passwords import SECRET

from tornado_sessions import SessionConfig, Sessions
from tornado_sessions.errors import ConfigError
from tornado_sessions.stores.memory import MemoryStore

NUMBER = (int, float, timedelta)


#: By option: the types of which a value may make sense.
OPTIONS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("idle_timeout", "absolute_timeout", "touch_after", "rotation_grace"), NUMBER),
    **dict.fromkeys(("keep_ended_for", "store_timeout"), NUMBER),
    "rotate_after": (*NUMBER, type(None)),
    **dict.fromkeys(("rolling", "persistent", "http_only", "partitioned", "end_on_theft"), (bool,)),
    "secure": (bool, str),
    **dict.fromkeys(("same_site", "path", "when_exceeded", "forwarded_header"), (str,)),
    **dict.fromkeys(("cookie_name", "domain", "priority"), (str, type(None))),
    "max_size": (int,),
    "max_sessions_per_user": (int, type(None)),
    **dict.fromkeys(("secret", "encryption_key"), (str, list, tuple, type(None))),
    "trusted_proxies": (list, tuple, set),
}


STRANGE = [None, True, 7, 1.5, "big", b"bytes", (), [], {}, {7}, object(), timedelta(hours=1), Path("x"), lambda: 7]


class TestConfig:
    def test_all_faults_are_told_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            SessionConfig(idle_timeout=0, same_site="None", domain="a b", cookie_name="a b", trusted_proxies=["x"])
        assert len(caught.value.faults) == 5

    @pytest.mark.parametrize("option", OPTIONS)
    @pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
    def test_a_value_of_a_wrong_type_is_a_fault_of_that_option(self, option: str, value: Any) -> None:
        if type(value) in OPTIONS[option]:
            return
        with pytest.raises(ConfigError) as caught:
            SessionConfig(**{option: value})
        assert any(fault.startswith(option) for fault in caught.value.faults)

    def test_each_option_has_its_types_above(self) -> None:
        assert {field.name for field in dataclasses.fields(SessionConfig)} == set(OPTIONS)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("max_size", 0), ("max_size", -1), ("max_sessions_per_user", 0), ("idle_timeout", -1), ("touch_after", 10**400),
            ("store_timeout", 0), ("absolute_timeout", float("nan")), ("keep_ended_for", float("-inf")), ("path", ""),
            ("path", "/;"), ("domain", ""), ("cookie_name", ""), ("secret", ""), ("secret", []), ("secret", [""]),
            ("secret", "\ud800"), ("secret", "x" * 31), ("secret", ["x" * 40, "keyboard cat"]),
            ("encryption_key", ["key", 5]), ("trusted_proxies", [5]), ("trusted_proxies", [b"::1"]),
            ("trusted_proxies", ["::1/200"]), ("trusted_proxies", "::1"), ("same_site", "lax"), ("secure", "no"),
            ("when_exceeded", "later"), ("priority", "high"),
        ],
    )  # fmt: skip
    def test_a_value_that_makes_no_sense_is_one_as_well(self, option: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=option):
            SessionConfig(**{option: value})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"store": None}, {"store": 42}, {"store": b"memory://"}, {"store": MemoryStore}, {"store": Path("x.db")},
            {"config": {}}, {"config": "x"}, {"secret": 42}, {"secret": b"x" * 40}, {"secret": [None]},
        ],
    )  # fmt: skip
    def test_sessions_are_made_of_the_right_parts_only(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            Sessions(**{"store": "memory://", "secret": SECRET, **wrong})

    def test_a_secret_is_never_shown(self) -> None:
        assert "hush" not in repr(SessionConfig(secret="hush" * 8, encryption_key="hush"))
