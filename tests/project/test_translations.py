"""Every text that pages show has its Chinese words."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "tornado_sessions/translations/zh.csv").read_text(encoding="utf8").splitlines()
CHINESE = {row[0]: row[1] for row in csv.reader(LINES)}
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
FIXED = {
    "Registered": "注册成功",
    "Logged in.": "登录成功",
    "Log-in failed": "登录失败",
    "Registration failed.": "注册失败，请稍后再试~",
    "Logged out": "成功退出",
    "Hello %s": "你好 %s",
    "Log in": "登录",
    "Register": "注册",
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_text_of_a_template_is_translated(path: Path) -> None:
    texts = re.findall(r"""_\((?:"([^"]+)"|'([^']+)')\)""", path.read_text(encoding="utf8"))
    assert {first or second for first, second in texts} <= set(CHINESE)


def test_the_words_of_the_familiar_stack_stay() -> None:
    assert {text: CHINESE[text] for text in FIXED} == FIXED


def test_a_translation_has_the_places_of_its_original() -> None:
    for text, translated in CHINESE.items():
        assert re.findall(r"%[sd]", text) == re.findall(r"%[sd]", translated), text
