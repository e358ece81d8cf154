"""Lists of accounts: every filter on every kind of server, in both directions, without reading what lies before the page."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from support.urls import BACKENDS, url_of

from tornado_sessions.errors import QueryError
from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.listing import Choice, Listing
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.user import User, key_of
from tornado_sessions.server.documents import Document, open_documents
from tornado_sessions.server.roles import Role

NOW = 1000.0
NAMES = ["a", "ab", "Abc", "abd", "ada", "adam", "b", "bob", "Bobby", "eve", "mallory", "zoe", "żółw", "李雷"]


def _user(number: int, name: str) -> User:
    role = Role.VIEWER if number % 3 == 0 else Role.USER
    # One block has ended and must not count.
    blocked = {1: NOW + 60, 4: NOW - 60, 6: NOW + 60, 9: NOW + 1}.get(number)
    made = {"password_hash": "x", "created_at": 1.0, "password_changed_at": 1.0}
    return User(name=name, email=f"{number}@example.org", role=role, blocked_until=blocked, **made)  # type: ignore[arg-type]


def _expected(users: list[User], choice: Choice) -> list[str]:
    found = [
        user.key
        for user in users
        if user.key.startswith(key_of(choice.text))
        and choice.role in (None, user.role)
        and choice.blocked in (None, user.is_blocked(NOW))
    ]
    return sorted(found)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.gen_test(timeout=60)
async def test_every_filter_lists_exactly_its_accounts_forwards_and_backwards(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    documents = open_documents(url_of(kind, request, tmp_path))
    await documents.open()
    repository = AccountRepository(DocumentUsers(documents))
    users = [await repository.add(_user(number, name)) for number, name in enumerate(NAMES)]
    listing = Listing(DocumentUsers(documents), lambda: NOW)
    for text, role, blocked in product(("", "A", "ab", "nobody"), (None, Role.VIEWER), (None, True, False)):
        choice = Choice(text, role, blocked)
        pages = [await listing.page(choice, "", 2)]
        while (cursor := pages[-1].next_cursor) is not None:
            pages.append(await listing.page(choice, cursor, 2))
        found = [user.key for page in pages for user in page.users]
        assert found == _expected(users, choice), choice
        assert pages[0].previous_cursor is None
        for before, page in zip(pages[::-1][1:], pages[:0:-1], strict=True):
            assert page.previous_cursor is not None
            assert (await listing.page(choice, page.previous_cursor, 2)).users == before.users, choice
    await documents.close()


@pytest.mark.parametrize("cursor", ["x", ">", "<!", ">AA", "<" + "A" * 3001, "~YQ"])
@pytest.mark.gen_test
async def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    documents = open_documents("memory://")
    await documents.open()
    with pytest.raises(QueryError):
        await Listing(DocumentUsers(documents), lambda: NOW).page(Choice(), cursor, 2)


@pytest.mark.gen_test
async def test_damaged_accounts_are_listed_and_lead_on() -> None:
    documents = open_documents("memory://")
    await documents.open()
    repository = AccountRepository(DocumentUsers(documents))
    for name in ("ada", "bob", "eve"):
        await repository.add(_user(NAMES.index(name) + 100, name))
    await documents.put("account", Document("bob", 2, b"not JSON"), tags=["user"])
    listing = Listing(DocumentUsers(documents), lambda: NOW)
    first = await listing.page(Choice(), "", 2)
    assert [user.key for user in first.users] == ["ada", "bob"]
    assert [user.key for user in (await listing.page(Choice(), first.next_cursor or "", 2)).users] == ["eve"]


@pytest.mark.gen_test
async def test_a_page_reads_a_bounded_number_of_accounts_and_leads_on() -> None:
    documents = open_documents("memory://")
    await documents.open()
    repository = AccountRepository(DocumentUsers(documents))
    for number in range(2050):
        await documents.put("account", Document(f"u{number:04}", 1, b"{}"), tags=["user"])
    await repository.add(_user(5, "zoe"))
    listing = Listing(DocumentUsers(documents), lambda: NOW)
    # Nothing of the damaged ones is known, so a filter by state leaves them out.
    first = await listing.page(Choice(blocked=False), "", 10)
    assert (first.users, first.next_cursor is None) == ([], False)
    assert [user.key for user in (await listing.page(Choice(blocked=False), first.next_cursor or "", 10)).users] == [
        "zoe"
    ]
