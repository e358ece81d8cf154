"""Every text that pages show has its Chinese words."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from tornado_sessions.query import Sort
from tornado_sessions.record import Cause
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.operations.self_check import Grade
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.pages.charts import CHARTS
from tornado_sessions.server.web.pages.choices import REASONS

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "tornado_sessions/server/translations/zh.csv").read_text(encoding="utf8").splitlines()
CHINESE = {row[0]: row[1] for row in csv.reader(LINES)}
ENGLISH_LINES = (ROOT / "tornado_sessions/server/translations/en_US.csv").read_text(encoding="utf8").splitlines()
ENGLISH = {row[0]: row[1] for row in csv.reader(ENGLISH_LINES)}
#: What concerns no single user.
NOT_OF_USERS = {
    Action.END_EVERYBODY,
    Action.CANCEL_JOB,
    Action.CREATE_TOKEN,
    Action.REVOKE_TOKEN,
    Action.EXPORT_AUDIT,
}
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


def test_every_text_that_is_put_together_is_translated() -> None:
    """Texts that templates choose by a value, and those that handlers say on the next page."""
    texts = {f"role: {role.value}" for role in Role} | {f"order: {sort.value}" for sort in Sort}
    texts |= {f"job: {state.value}" for state in JobState} | {f"grade: {grade.value}" for grade in Grade}
    texts |= {f"{kind}: {cause.value}" for kind in ("cause", "ended") for cause in Cause}
    texts |= {title for _, title, _ in CHARTS} | set(REASONS) | set(Action)
    code = "".join(path.read_text(encoding="utf8") for path in sorted((ROOT / "tornado_sessions").rglob("*.py")))
    texts |= {one or two for one, two in re.findall(r'(?:notify|done)\(\s*"([^"]+)"|fault = "([^"]+)"', code)}
    # The second kind are sentences with values, of errors and of self-checks.
    makers = "QueryError|InvalidInput|NotPermitted|HasGrown|Message|_check|_fault"
    texts |= set(re.findall(rf'(?:{makers})\(\s*(?:Grade\.[A-Z]+, )?"([^"]+)"', code))
    texts |= set(re.findall(r' (?:text|alone) = "([A-Za-z%][^"]+)"', code))
    assert texts <= set(CHINESE)
    shown = {text for text in texts if re.match(r"(role|order|job|grade|cause|ended): ", text)}
    assert shown <= set(ENGLISH)


def test_every_event_has_words_for_its_user() -> None:
    own = set(Action) - NOT_OF_USERS
    assert {f"event: {act}" for act in own} <= set(CHINESE)
    assert {f"event: {act}" for act in own} <= set(ENGLISH)


def test_the_words_of_the_familiar_stack_stay() -> None:
    assert {text: CHINESE[text] for text in FIXED} == FIXED


def test_a_translation_has_the_places_of_its_original() -> None:
    for text, translated in CHINESE.items():
        assert re.findall(r"%[sd]", text) == re.findall(r"%[sd]", translated), text
