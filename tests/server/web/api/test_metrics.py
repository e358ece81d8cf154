"""``/metrics``: who may read it, and that it is complete from the start and true while the store is down."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.raw_connection import connected
from support.server_process import ServerProcess

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.operations.tokens import Scope, scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store


def values(body: bytes) -> dict[tuple[str, ...], float]:
    """By name and values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:3000"}, 200),
        ({"Host": "[::1]:3000"}, 200),
        ({"Host": "sessions.example.org"}, 401),  # a proxy on this host that passes on the name
        ({"Host": "127.0.0.1.example.org"}, 401),
        ({"X-Forwarded-For": "203.0.113.9"}, 401),
        ({"Forwarded": "for=203.0.113.9"}, 401),
        ({"X-Real-IP": "203.0.113.9"}, 401),
        ({"Sec-Fetch-Site": "none"}, 401),  # a browser on this host
        ({"Authorization": "Bearer nonsense"}, 401),  # a wrong token is an error, wherever it comes from
    ],
)
async def test_without_a_role_only_programs_on_this_host_read_metrics(
    browser: Browser, headers: dict[str, str], status: int
) -> None:
    found = await browser.get("/metrics", **{name.replace("-", "_"): value for name, value in headers.items()})
    assert found.code == status
    assert (b"tornado_sessions_live" in found.body) is (status == 200)


@pytest.mark.parametrize(("version", "status"), [("1.0", b" 401 "), ("1.1", b" 200 ")])
@pytest.mark.gen_test
async def test_a_proxy_on_this_host_that_adds_no_header_is_no_program_on_it(
    browser: Browser, version: str, status: bytes
) -> None:
    """As nginx with nothing but ``proxy_pass``: it asks for the address of this server, in HTTP/1.0."""
    port = int(browser.base.rpartition(":")[2])
    async with connected(("127.0.0.1", port)) as proxy:
        head = f"GET /metrics HTTP/{version}\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        proxy.writer.write(head.encode())
        assert status in (await proxy.rest()).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("public_url", "trusted", "status"),
    [
        ("https://sessions.example.org", [], 401),
        ("https://sessions.example.org", ["127.0.0.1"], 200),
        ("http://localhost:8888", [], 200),
        (None, [], 200),
    ],
)
def test_a_server_behind_a_proxy_that_tells_nothing_knows_no_local_programs(
    public_url: str | None, trusted: list[str], status: int, tmp_path: Path
) -> None:
    """A bare ``proxy_pass`` of nginx 1.29.7 looks exactly like a program on this host."""
    flags = ["--public-url", public_url] if public_url else []
    server = ServerProcess(tmp_path, *flags, *(flag for proxy in trusted for flag in ("--trusted-proxies", proxy)))
    try:
        with suppress(HTTPError), urlopen(server.url + "/metrics", timeout=20) as found:
            assert status == found.status == 200
            return
        assert status == 401
    finally:
        server.stop()


@pytest.mark.gen_test
async def test_tokens_and_people_read_metrics_by_their_rights(browser: Browser, parts: Parts) -> None:
    token = await parts.tokens.create("prometheus", scopes_of(Role.VIEWER))
    away = {"Host": "sessions.example.org"}
    assert (await browser.get("/metrics", Authorization=f"Bearer {token}", **away)).code == 200
    other = await parts.tokens.create("ender", [Scope.END])
    assert (await browser.get("/metrics", Authorization=f"Bearer {other}", **away)).code == 403


@pytest.mark.gen_test
async def test_every_series_exists_before_the_first_event(browser: Browser) -> None:
    found = values((await browser.get("/metrics")).body)
    for method in ("GET", "HEAD", "POST", "DELETE", "other"):
        for status in ("1xx", "2xx", "3xx", "4xx", "5xx"):
            assert ("tornado_sessions_http_request_duration_seconds_count", method, status) in found
    for operation in ("load", "save", "find", "count", "destroy", "destroy_user", "end_all", "expire", "swap", "ping"):
        assert ("tornado_sessions_store_call_duration_seconds_count", operation) in found
        assert found["tornado_sessions_store_errors_total", operation] == 0
    for event in ("sign-ins", "failures", "ended"):
        assert found["tornado_sessions_events_total", event] == 0
    for name in (
        "open_connections",
        "requests_in_progress",
        "open_streams",
        "hashing_queue",
        "store_calls_in_progress",
        "live",
        "store_up",
        "jobs_running",
    ):
        assert (f"tornado_sessions_{name}",) in found
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert found[name,] > 0


@pytest.mark.gen_test
async def test_requests_and_store_calls_are_counted(browser: Browser, operator: Browser) -> None:
    before = values((await browser.get("/metrics")).body)
    await operator.register("rita")
    await operator.log_in("rita")
    await browser.get("/no-such-page")
    after = values((await browser.get("/metrics")).body)
    grown = {key for key in after if after[key] > before.get(key, 0)}
    assert ("tornado_sessions_http_request_duration_seconds_count", "GET", "4xx") in grown
    assert ("tornado_sessions_http_request_duration_seconds_count", "POST", "3xx") in grown
    assert ("tornado_sessions_store_call_duration_seconds_count", "save") in grown
    assert ("tornado_sessions_store_batch_size_count", "save") in grown


@pytest.mark.gen_test
async def test_metrics_answer_while_the_store_is_down(
    browser: Browser, parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("test", "down")

    assert values((await browser.get("/metrics")).body)["tornado_sessions_store_up",] == 1
    for name in ("count", "find", "ping"):
        monkeypatch.setattr(parts.sessions.store, name, fail)
    clock.ahead += 10
    found = values((await browser.get("/metrics")).body)
    assert found["tornado_sessions_store_up",] == 0
    assert found["tornado_sessions_store_errors_total", "count"] > 0
