"""Every text that people read is in the Chinese catalogue, and the catalogue has nothing else."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from tools.translations import collected, strings, untranslated
from tornado_sessions.query import Sort
from tornado_sessions.record import Cause
from tornado_sessions.server.languages import DOMAIN, FOLDER, language
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.operations.self_check import Grade
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web import words

FIXED = {
    "Account created": "注册成功",
    "You're signed in.": "登录成功",
    "Incorrect username or password.": "登录失败：用户名或密码错误。",
    "Registration failed. Please try again later.": "注册失败，请稍后再试~",
    "You've signed out": "成功退出",
    "Hello %s": "你好 %s",
    "Sign in": "登录",
    "Register": "注册",
}


#: Together, since the texts are collected once.
pytestmark = pytest.mark.xdist_group("translations")

_collected = functools.cache(collected)


def _chinese() -> Catalog:
    with (FOLDER / "zh/LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        return read_po(file, locale="zh")


def test_the_chinese_catalogue_has_exactly_the_texts_of_the_source() -> None:
    """``make translations`` brings it up to date."""
    assert {message.id for message in _chinese() if message.id} == {
        message.id for message in _collected() if message.id
    }


def _said(tree: ast.AST) -> Iterator[str]:
    """The texts of all calls that translate a text, or mark it for translation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in ("_", "N_", "Message") or name.endswith(("say", "plural", "translate")):
                yield str(node.args[0].value)


def test_every_text_that_is_said_is_collected() -> None:
    """Whatever the method is called that says it, and wherever the call stands: no call within an f-string is found."""
    texts = {text for message in _collected() if message.id for text in strings(message.id)}
    trees = {
        path: ast.parse(path.read_text("utf8")) for path in sorted(Path("tornado_sessions/server/web").rglob("*.py"))
    }
    said = {(str(path), text) for path, tree in trees.items() for text in _said(tree) if text}
    assert len(said) > 300
    assert {(path, text) for path, text in said if text not in texts} == set()


def test_every_text_is_translated_and_no_translation_is_a_guess() -> None:
    assert untranslated(_chinese()) == []


def test_a_translation_has_the_placeholders_of_its_original() -> None:
    """The forms of a plural have the same ones among themselves, too."""
    for message in _chinese():
        originals, translations = strings(message.id), strings(message.string)
        placeholders = {tuple(re.findall(r"%.", text)) for text in (*originals, *translations)}
        if message.id and message.id not in MAY_LEAVE_OUT:
            assert len(placeholders) == 1, message.id


#: English leaves the number out where there is only one.
MAY_LEAVE_OUT = {
    ("Checks the newest entry.", "Checks the newest %s entries."),
    ("Please fix the field below.", "Please fix the %s fields below."),
}


def test_every_value_that_pages_show_has_a_name() -> None:
    assert set(words.ACTIONS) == set(Action)
    assert set(words.CAUSES) == set(words.ENDINGS) == set(Cause)
    assert set(words.ROLES) == set(Role)
    assert set(words.SORTS) == set(Sort)
    assert set(words.JOB_STATES) == set(JobState)
    assert set(words.GRADES) == set(Grade)
    assert set(words.SCOPES) == set(Scope)


def test_the_words_of_the_familiar_stack_stay() -> None:
    chinese = language("zh")
    assert {text: chinese.translate(text) for text in FIXED} == FIXED
