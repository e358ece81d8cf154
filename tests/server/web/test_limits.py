"""How many descriptors and connections a process takes."""

from __future__ import annotations

import resource

import pytest

from tornado_sessions import ConfigError
from tornado_sessions.server.web.limits import connections_for, raise_descriptor_limit


@pytest.mark.parametrize("error", [ValueError("current limit exceeds maximum limit"), PermissionError()])
def test_a_system_that_allows_no_more_descriptors_keeps_its_limit(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_descriptor_limit() == 256
    assert connections_for(None, 256) == 128


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (256, 1024, 1024),
        (1024, 1024, 1024),
        (256, 1 << 20, 65_536),
        (1024, resource.RLIM_INFINITY, 65_536),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 65_536),
        (1 << 20, 1 << 20, 65_536),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_is_useful(
    soft: int, hard: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.append(wanted))
    assert raise_descriptor_limit() == expected
    raised = limits[-1][0]
    assert raised == resource.RLIM_INFINITY or raised >= expected
    assert limits[-1][1] == hard


@pytest.mark.parametrize(
    ("wanted", "descriptors", "expected"),
    [(None, 65_536, 4096), (None, 1024, 768), (None, 256, 128), (None, 10, 5), (100, 1024, 100), (768, 1024, 768)],
)
def test_some_descriptors_are_left_for_stores_and_logs(wanted: int | None, descriptors: int, expected: int) -> None:
    assert connections_for(wanted, descriptors) == expected


def test_a_setting_beyond_the_descriptors_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"769 is too many for 1024 file descriptors: at most 768.*ulimit -n"):
        connections_for(769, 1024)
