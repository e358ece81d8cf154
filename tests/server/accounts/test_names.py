"""Usernames that pass for others are refused, and names of all the world are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confusable_homoglyphs.confusables import confusables_data
from support.amount import knows_no_store
from support.browser import Browser
from support.passwords import PASSWORD
from support.server_process import run_command

from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.errors import InvalidForm
from tornado_sessions.server.accounts.migrate import copy_accounts
from tornado_sessions.server.accounts.names import check_name
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.user import User, clean
from tornado_sessions.server.documents.memory import MemoryDocuments
from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store

ACTORS = ["cli", "token", "system", "server", "tornado_sessions"]
OFFICES = ["admin", "root", "operator", "support", "administrator", "moderator"]
#: Letters as they are, in capitals, wide, and as letters of other alphabets and digits that look like them.
DISGUISES: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "wide": lambda name: "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in name),
    "dots": ".".join,
    "accent": lambda name: name.replace("i", "í").replace("o", "ó").replace("e", "é"),
    "digits": lambda name: name.replace("o", "0").replace("l", "1"),
    "one capital": lambda name: name.upper().replace("I", "l"),
    "small capitals": lambda name: name.translate(str.maketrans("aceo", "ᴀᴄᴇᴏ")),
    "ends": lambda name: f"_{name}-",
}


def alike(letter: str) -> Iterator[str]:
    """Letters of other alphabets that look like a letter."""
    return (item["c"] for item in confusables_data.get(letter, ()) if len(item["c"]) == 1 and item["c"].isalpha())


def imitations(name: str) -> Iterator[str]:
    """A name in each disguise, and with each of its letters replaced by each that looks like it."""
    yield from (disguise(name) for disguise in DISGUISES.values())
    for place, letter in enumerate(name):
        yield from (name[:place] + other + name[place + 1 :] for other in alike(letter))


@pytest.mark.parametrize("name", ACTORS)
def test_no_account_passes_for_an_actor_of_the_audit_log(name: str) -> None:
    for imitation in (name, *imitations(name)):
        assert check_name(clean(imitation), by_operator=True), imitation


@pytest.mark.parametrize("name", OFFICES)
def test_a_stranger_does_not_pass_for_somebody_in_charge(name: str) -> None:
    assert check_name(name, by_operator=True) is None, "whoever runs the server may be called that"
    for imitation in (name, *imitations(name)):
        assert check_name(clean(imitation), by_operator=False), imitation


@pytest.mark.parametrize("space", [" ", "\xa0", "\u2003", "\u3000", "_", "-", ".", "@", "+"])
def test_no_account_passes_for_a_token(space: str) -> None:
    assert check_name(clean(f"token{space}x"), by_operator=True)
    assert check_name(clean(f"tоkеn{space}x"), by_operator=True)


GOOD = [
    "ada", "Ada", "user1", "tokenizer", "clive", "张伟", "张wei", "王小明2", "Сергей", "иван.петров", "José", "Zoë", "Łukasz",
    "Ελένη", "田中さん", "김철수", "müller", "straße", "Åsa", "søren", "çağla", "أحمد", "דוד", "o'neill".replace("'", "."),
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_name_in_one_alphabet_is_good(name: str) -> None:
    assert check_name(clean(name), by_operator=False) is None


PAIRS = [
    ("ada", "аdа"),
    ("ada", "аԁа"),
    ("сара", "capa"),
    ("paul", "pau1"),
    ("oona", "00na"),
    ("Ilia", "llia"),
    ("mia", "rnia"),
    ("kim", "кім"),
    ("lee", "ӏее"),
    ("nora", "ɴora"),
]


@pytest.mark.parametrize(("name", "imitation"), [*PAIRS, *(pair[::-1] for pair in PAIRS if pair[1] != "аdа")])
@pytest.mark.gen_test
async def test_a_name_that_looks_like_anothers_is_taken(
    browser: Browser, parts: Parts, name: str, imitation: str
) -> None:
    await parts.accounts.register(name, "first@example.org", PASSWORD)
    fields = {"username": imitation, "email": "second@example.org", "password": PASSWORD}
    answer = await browser.post("/reg", fields)
    assert answer.code == 400
    with pytest.raises(InvalidForm) as refused:
        await parts.accounts.register(imitation, "second@example.org", PASSWORD)
    assert list(refused.value.faults) == ["username"]
    # The owner of the name can change the account.
    await parts.accounts.change_email(name, PASSWORD, "third@example.org", "::1")


@pytest.mark.parametrize("name", ["cli", "CLI", "c1i", "token.x", "system"])
def test_a_command_makes_no_account_with_the_name_of_an_actor(tmp_path: Path, name: str) -> None:
    made = run_command(tmp_path, "create-user", name, "--role", "admin", given=PASSWORD + "\n")
    assert made.returncode == 1
    assert "reserved" in made.stderr


@pytest.mark.gen_test
async def test_a_stranger_is_told_that_a_name_is_reserved(browser: Browser, parts: Parts) -> None:
    for name in ("admin", "аdmin", "cli", "root", "token x"):
        answer = await browser.post("/reg", {"username": name, "email": "a@example.org", "password": PASSWORD})
        assert answer.code == 400, name
        assert b'aria-invalid="true"' in answer.body
    await parts.accounts.register("admin", "a@example.org", PASSWORD)


@pytest.mark.gen_test
async def test_an_account_that_looks_like_one_in_the_target_is_named_when_it_is_not_copied(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Accounts of a store that is older than the rule."""
    source, target = (
        AccountRepository(DocumentUsers(MemoryDocuments())),
        AccountRepository(DocumentUsers(MemoryDocuments())),
    )
    fields: Any = {"password_hash": "x", "created_at": 1.0, "password_changed_at": 1.0}
    await target.add(User(name="pau1", email="other@example.org", **fields))
    for name in ("paul", "ada"):
        await source.add(User(name=name, email=f"{name}@example.org", **fields))
    assert await copy_accounts(source, target, lambda _: None) == 1
    assert "the account 'paul' was not copied: its username is another account's" in caplog.text
    caplog.clear()
    assert await copy_accounts(source, target, lambda _: None) == 0
    assert "ada" not in caplog.text
