"""Templates are compiled before the first page, which would otherwise hold up the event loop for a third of a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mounted import People, made
from support.passwords import SECRET

from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web import serve
from tornado_sessions.server.web.static_files import templates


@pytest.fixture(autouse=True)
def nothing_is_compiled() -> Iterator[None]:
    templates.cache_clear()
    yield
    # Compiled again, as most tests find them.
    templates()


@pytest.mark.gen_test
async def test_a_dashboard_compiles_its_templates_when_it_opens() -> None:
    sessions, dashboard = made(People())
    await dashboard.open()
    assert templates.cache_info().currsize == 1
    await dashboard.close()
    await sessions.close()


def test_a_server_compiles_its_templates_before_it_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []

    def bind(*_: Any) -> None:
        compiled.append(templates.cache_info().currsize)
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(serve, "bind_sockets", bind)
    with pytest.raises(OSError, match="cannot listen"):
        serve.serve(ServerOptions(store=f"sqlite:///{tmp_path}/sessions.db", secret=[SECRET]))
    assert compiled == [1]
