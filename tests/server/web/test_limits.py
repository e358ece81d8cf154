"""How many descriptors and connections a process takes."""

from __future__ import annotations

import resource

import pytest

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
