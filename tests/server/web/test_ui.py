"""What templates are built of."""

from __future__ import annotations

import pytest
from tornado.escape import to_unicode

from tornado_sessions.query import Where
from tornado_sessions.server.languages import language
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.filters import FILTERS
from tornado_sessions.server.web import words
from tornado_sessions.server.web.ui.markup import Form, hidden_fields
from tornado_sessions.server.web.ui.texts import entry_detail, filter_text, when

CHINESE = language("zh")


def test_a_form_has_its_token_and_its_hidden_values() -> None:
    form = Form(lambda: "to<ken")("/end", hidden={"user": 'a"b', "handle": ["h1", "h2"], "none": "", "count": 0})
    written = to_unicode(form(b"<button>"))
    assert written == (
        '<form method="post" action="/end"><input type="hidden" name="_xsrf" value="to&lt;ken">'
        '<input type="hidden" name="user" value="a&quot;b"><input type="hidden" name="handle" value="h1">'
        '<input type="hidden" name="handle" value="h2"><input type="hidden" name="count" value="0"><button></form>'
    )


def test_hidden_fields_without_a_value_are_left_out() -> None:
    assert hidden_fields({"where": "", "handle": []}) == ""


def test_a_time_that_is_not_known_is_a_dash() -> None:
    assert [when(at, CHINESE) for at in (None, 0.0, float("nan"), float("inf"))] == ["–"] * 4


def test_a_time_after_the_last_date_is_the_last_date() -> None:
    assert 'datetime="9999-12-31T23:59:59Z"' in when(1e300, CHINESE)


def test_what_an_action_was_done_with_is_told_in_the_readers_language() -> None:
    details = {
        (Action.BLOCK, "3600 s"): "1小时",
        (Action.CHANGE_ROLE, "admin"): "管理员",
        (Action.LOG_IN, "Firefox on Linux"): "Firefox（Linux）",
        (Action.END_MATCHING, "user_prefix=am idle_since=0.0"): "用户名开头：am · 空闲始于：1970年1月1日 00:00:00 UTC",
        (
            Action.END_MATCHING,
            "user=a b=c ip=192.0.2.1 signed_in=True",
        ): "用户：a b=c · IP 地址：192.0.2.1 · 已登录：是",
        (Action.END_MATCHING, "users=('ada', 'bob')"): "用户：ada和bob",
        (Action.END_MATCHING, "of a later version"): "of a later version",
        (Action.BLOCK, "no end"): "没有期限",
        (Action.CREATE_TOKEN, "robot (sessions:read)"): "robot (查看会话、用户和任务)",
        (Action.END_SESSION, "h1"): "h1",
        (Action.BLOCK, "not a duration"): "not a duration",
    }
    assert {key: entry_detail(*key, CHINESE) for key in details} == details


@pytest.mark.parametrize("code", ["en_US", "zh"])
def test_a_filter_reads_the_same_on_the_list_before_the_end_and_in_the_audit_log(code: str) -> None:
    reader = language(code)
    everything = Where(
        user="ada", user_prefix="ad", users=("ada", "eve"), ip="192.0.2.7", network="192.0.2.0/24", handle="h1", text="ad",
        device="no browser", signed_in=True, signed_in_since=1.7e9, idle_since=1.7e9, ended_by="root", ended_action="ab12",
        ended_since=1.7e9, ended_until=1.7e9,
    )  # fmt: skip
    target = " ".join(f"{name}={value}" for name, value in everything.given.items())
    logged = entry_detail(Action.END_MATCHING, target, reader)
    for name, value in everything.given.items():
        title = reader.translate(words.FILTERS[name])
        text = reader.translate("%s: %s") % (title, filter_text(name, value, reader))
        assert text in logged, name
    assert {"en_US": "Not a browser", "zh": reader.translate("Not a browser")}[code] in logged
    # What a URL may say besides.
    assert not FILTERS.keys() - words.FILTERS.keys()
    assert set(Where.__struct_fields__) - {"created_until"} <= words.FILTERS.keys()
    for name, text in (
        ("role", "admin"),
        ("kind", "users"),
        ("suspicious", "1"),
        ("idle_for", "3600"),
        ("device", "no browser"),
    ):
        assert filter_text(name, text, reader) != text, name
    for name in words.FILTERS:
        for junk in ("", "x" * 9999, "\0", "1e308", "-1", "9" * 99):
            assert len(filter_text(name, junk, reader)) <= 200, name
