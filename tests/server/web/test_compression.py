"""What is compressed, and what is not."""

from __future__ import annotations

import gzip

import pytest
from support.browser import Browser
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


async def fetched(client: AsyncHTTPClient, url: str, **headers: str) -> HTTPResponse:
    sent = {"Accept-Encoding": "gzip", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await client.fetch(HTTPRequest(url, headers=sent, decompress_response=False), raise_error=False)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/login", "/static/style.css", "/static/icons.svg", "/static/vendor/htmx.min.js"])
async def test_pages_and_static_files_are_compressed(http_client: AsyncHTTPClient, base_url: str, path: str) -> None:
    answer = await fetched(http_client, base_url + path)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    plain = await fetched(http_client, base_url + path, Accept_Encoding="identity")
    assert "Content-Encoding" not in plain.headers
    assert len(answer.body) < len(gzip.decompress(answer.body)) * 0.6


@pytest.mark.gen_test
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_another_site_asks_for_has_no_telling_length(browser: Browser, site: str) -> None:
    answer = await fetched(browser.client, browser.base + "/login", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")
    assert answer.code == 200
    assert "Content-Encoding" not in answer.headers


@pytest.mark.gen_test
async def test_a_part_of_a_file_is_a_part_of_the_file(http_client: AsyncHTTPClient, base_url: str) -> None:
    whole = (await fetched(http_client, base_url + "/static/style.css", Accept_Encoding="identity")).body
    part = await fetched(http_client, base_url + "/static/style.css", Range="bytes=100-5099")
    assert (part.code, part.body) == (206, whole[100:5100])
