"""Texts, numbers and times in the languages of the pages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tornado_sessions.messages import Message
from tornado_sessions.query import Count
from tornado_sessions.server.languages import Language, language, preferred

ENGLISH, CHINESE = language("en_US"), language("zh")


def test_an_unknown_text_stays_as_it_is_and_an_empty_one_empty() -> None:
    """The empty text is the catalogue's header, which no page shows."""
    assert [CHINESE.translate(text) for text in ("no such text %s", "")] == ["no such text %s", ""]


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (0, "0 sessions ended.", "已结束 0 个会话。"),
        (1, "1 session ended.", "已结束 1 个会话。"),
        (2345, "2,345 sessions ended.", "已结束 2,345 个会话。"),
    ],
)
def test_a_number_chooses_the_form_of_its_text(number: int, english: str, chinese: str) -> None:
    message = Message.plural("%s session ended.", "%s sessions ended.", number)
    assert (ENGLISH.say(message), str(message), CHINESE.say(message)) == (english, english, chinese)


def test_a_count_that_stopped_at_a_bound_is_shown_as_at_least_that_many() -> None:
    count = Count(10_000, exact=False)
    assert ENGLISH.number(count) == "10,000+"
    shown = ENGLISH.plural("End %s session", "End %s sessions", count, more=ENGLISH.translate("End %s+ sessions"))
    assert shown == "End 10,000+ sessions"
    assert CHINESE.plural("", "", count, more=CHINESE.translate("End %s+ sessions")) == "结束 10,000 多个会话"


def test_a_time_in_a_message_is_written_in_its_language() -> None:
    text = "This account is blocked until %s. Contact your administrator."
    message = Message(text, (datetime(2026, 11, 25, 15, 40, tzinfo=UTC),))
    assert "until Nov 25, 2026, 15:40:00 UTC." in ENGLISH.say(message)
    assert "2026年11月25日 15:40:00 UTC" in CHINESE.say(message)
    assert "until 2026-11-25 15:40 UTC." in str(message)


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (-9, "just now", "刚刚"),
        (-50, "50 seconds ago", "50秒前"),
        (-3590, "1 hour ago", "1小时前"),
        (7200, "in 2 hours", "2小时后"),
    ],
)
def test_a_distance_in_time_has_one_unit(seconds: float, english: str, chinese: str) -> None:
    assert (ENGLISH.distance(seconds), CHINESE.distance(seconds)) == (english, chinese)


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0.5, "0.5 seconds", "0.5秒"),
        (1, "1 second", "1秒"),
        (90, "90 seconds", "90秒"),
        (1800, "30 minutes", "30分钟"),
        (86400, "1 day", "1天"),
    ],
)
def test_a_duration_is_exact_in_the_largest_unit(seconds: float, english: str, chinese: str) -> None:
    assert (ENGLISH.duration(seconds), CHINESE.duration(seconds)) == (english, chinese)


def test_a_device_is_named_in_the_readers_language() -> None:
    assert [CHINESE.device(text) for text in ("Firefox on Linux", "curl", "")] == ["Firefox（Linux）", "curl", ""]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", CHINESE),
        ("zh-Hant-TW", CHINESE),
        ("en-GB,en;q=0.9,zh;q=0.8", ENGLISH),
        ("fr, zh;q=0.3", CHINESE),
        ("zh;q=0, en", ENGLISH),
        ("zh;q=x", ENGLISH),
        ("fr", ENGLISH),
        ("", ENGLISH),
    ],
)
def test_a_browser_gets_the_language_that_it_prefers(header: str, expected: Language) -> None:
    assert preferred(header) is expected


def test_chinese_sentences_follow_one_another_without_a_space() -> None:
    assert (ENGLISH.sentences("One.", "", "Two."), CHINESE.sentences("一。", "二。")) == ("One. Two.", "一。二。")
