"""New passwords: length with and without a second step, the name of the service, Unicode."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Literal

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.passwords import PASSWORD, SECRET
from tornado.web import Application

from tornado_sessions.server.accounts.errors import InvalidForm
from tornado_sessions.server.accounts.password_rules import PasswordRules, new_password
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions

RULES = PasswordRules(None, ["intranet.acme-corp.example"])
KNOWN = ["ada.lovelace", "ada.lovelace@analytical.example"]
#: What an attacker who knows service and user tries first.
NAMES = [
    "tornado_sessions", "tornadosessions", "intranet.acme-corp.example", "acme-corp", "ada.lovelace", "lovelace",
    "ada.lovelace@analytical.example", "analytical.example", "tornado sessions",
]  # fmt: skip
VARIANTS: dict[str, Callable[[str], str]] = {
    "as it is": lambda name: name,
    "upper": str.upper,
    "title": str.title,
    "digits": lambda name: f"{name}1234567",
    "year": lambda name: f"{name}2026!!!!!!",
    "before": lambda name: f"!!!!!!{name}",
    "twice": lambda name: name * 2,
    "three times": lambda name: name * 3,
    "backwards": lambda name: name[::-1] + "1",
    "leet": lambda name: name.replace("o", "0").replace("e", "3").replace("a", "4").replace("s", "5") + "99",
    "with another": lambda name: f"{name}-tornado-sessions",
    "dotted": lambda name: ".".join(name) + ".1",
    "accents": lambda name: name.replace("e", "é").replace("o", "ò").replace("a", "ä") * 2,
    "with password": lambda name: f"{name} password",
    "wide": lambda name: "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in name),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_names_of_service_and_user_make_no_password(name: str, variant: str) -> None:
    password = VARIANTS[variant](name)
    for two_steps in (True, False):
        assert RULES.fault(password, KNOWN, two_steps=two_steps), password


GOOD = [
    PASSWORD, "another horse and battery", "lovelace engine number nine", "kz8 fq2 wm4 pl9 tornado", "x9" + "Qm4 vT7 " * 31,
    "пароль из пяти обычных слов", "正确的马电池订书钉很长的密码二十", "nur kleine buchstaben", "🐎🔋📎🎲🌋🪐🧭🎻🪁🧊🫐🛶🪵🎯🧶",
]  # fmt: skip


@pytest.mark.parametrize("password", GOOD)
def test_no_composition_is_asked_for_and_long_passwords_are_good(password: str) -> None:
    assert RULES.fault(password, KNOWN, two_steps=False) is None


@pytest.mark.parametrize(("minimum", "with_code", "alone"), [(None, 8, 15), (8, 8, 8), (12, 12, 12), (64, 64, 64)])
def test_length_counts_code_points(minimum: int | None, with_code: int, alone: int) -> None:
    rules = PasswordRules(minimum)
    for two_steps, shortest in ((True, with_code), (False, alone)):
        for letter in ("q", "é", "码", "🐎", unicodedata.normalize("NFD", "é")):
            assert rules.length_fault(letter * shortest, two_steps=two_steps) is None
            fault = rules.length_fault(letter * (shortest - 1), two_steps=two_steps)
            assert str(fault) == f"Use at least {shortest} characters."
    assert rules.length_fault("q" * 256, two_steps=False) is None
    assert rules.length_fault("q" * 257, two_steps=False) is not None


@pytest.mark.gen_test
async def test_the_same_characters_are_the_same_password(browser: Browser, parts: Parts) -> None:
    typed = "Ångström café ﬁve ２０"
    await parts.accounts.register("ada", "ada@example.org", typed)
    forms: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")
    for form in forms:
        assert (await parts.accounts.log_in("ada", unicodedata.normalize(form, typed), "::1")).name == "ada"


@pytest.mark.gen_test
async def test_the_settings_decide(app: Application, io_loop: object) -> None:
    options = ServerOptions(
        store="memory://",
        secret=[SECRET],
        min_password_length=20,
        public_url="https://intranet.acme-corp.example",
        allowed_hosts=["zebrafish.example"],
    )
    parts = Parts(options, passwords=Passwords(CHEAPEST))
    async with parts.opened():
        for password, message in (
            ("nineteen characters", "at least 20"),
            ("intranet acme corp 2026", "name of this service"),
            ("ZebraFish.zebrafish1", "name of this service"),
        ):
            with pytest.raises(InvalidForm) as refused:
                await parts.accounts.register("ada", "ada@example.org", password)
            assert message in str(refused.value)
        await parts.accounts.register("ada", "ada@example.org", "this one has more than twenty")


def test_a_generated_password_is_good() -> None:
    made = {new_password() for _ in range(5)}
    assert len(made) == 5
    assert all(RULES.fault(password, KNOWN, two_steps=False) is None for password in made)
