"""The settings in words: each has a name, a value and its unit, and nothing looks like Python."""

from __future__ import annotations

import html
import re
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial

import pytest
from support.browser import Browser
from support.people import make_operator

from tornado_sessions.config import SessionConfig
from tornado_sessions.server.languages import CODES, language
from tornado_sessions.server.parts import Parts, setting_of
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.pages.settings import described

#: What ``repr`` and ``str`` of Python's values look like.
PYTHON = re.compile(
    r"\bNone\b(?!\))|\bTrue\b|\bFalse\b|timedelta|\(\)|\[|\]|\{|\}|'|<|datetime|(?<![\d.])\d+\.0(?![\d.])|_|\bunix:"
)
CONFIGS = [
    SessionConfig(secret="a" * 40),
    SessionConfig(
        secret=["a" * 40, "b" * 50],
        encryption_key="c" * 9,
        cookie_name="own",
        idle_timeout=timedelta(minutes=90),
        absolute_timeout=100_000,
        rotate_after=timedelta(hours=1),
        touch_after=0.5,
        secure=True,
        same_site="Strict",
        domain="example.com",
        priority="High",
        trusted_proxies=["10.0.0.0/8", "unix:"],
        max_sessions_per_user=5,
        when_exceeded="refuse",
        max_size=1000,
    ),
]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("config", CONFIGS, ids=["usual", "set"])
def test_every_setting_of_the_library_is_in_words(config: SessionConfig, code: str) -> None:
    options = ServerOptions(public_url="https://example.com", allowed_hosts=["a.example"], min_password_length=9)
    for given in (ServerOptions(), options):
        settings = [
            item for group in described(partial(setting_of, config, given), language(code)).values() for item in group
        ]
        assert {field.name for field in fields(SessionConfig)} <= {item.name for item in settings}
        for item in settings:
            assert item.label
            assert item.value
            value = item.value.replace("__Host-sid", "")
            assert not PYTHON.search(value), (item.name, item.value)
            assert not PYTHON.search(item.label), item.label
            assert item.flag or item.name not in ServerOptions.model_fields
        if code == "zh":
            english = [
                item
                for group in described(partial(setting_of, config, given), language("en_US")).values()
                for item in group
            ]
            assert [item.name for item, same in zip(settings, english, strict=True) if item.label == same.label] == []


def test_values_have_units() -> None:
    values = {
        item.name: item.value
        for group in described(partial(setting_of, CONFIGS[0], ServerOptions()), language("en_US")).values()
        for item in group
    }
    assert values["idle_timeout"] == "30 minutes"
    assert values["absolute_timeout"] == "12 hours"
    assert values["keep_audit_for"] == "365 days"
    assert values["max_size"] == "64 KiB"
    assert values["secret"] == "1 key: 40 characters"
    assert values["max_sessions_per_user"] == "No limit"
    assert values["same_site"] == "When a link is followed (Lax)"


@pytest.mark.gen_test(timeout=30)
async def test_the_page_shows_no_secret_and_leads_to_each_remedy(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    secret = parts.sessions.config.keys("secret")[0]
    parts.sessions.config = replace(parts.sessions.config, encryption_key="an encryption key")
    page = (await operator.get("/admin/settings")).body.decode()
    assert secret not in page
    assert "an encryption key" not in page
    assert "1 key: 17 characters" in page
    overview = (await operator.get("/admin/overview")).body.decode()
    anchors = set(re.findall(r'href="/admin/settings#([^"]+)"', overview + page))
    assert anchors
    for anchor in anchors:
        assert f'id="{html.unescape(anchor)}"' in page
