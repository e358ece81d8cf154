"""Two processes change the same account at once: the store decides which one wins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any
from urllib.parse import urlencode

import pyotp
import pytest
from support.amount import amount
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from support.tried import Tried
from tornado.web import Application

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.accounts.errors import AccountError, SetupUsed, Throttled, WrongCredentials
from tornado_sessions.server.accounts.two_step import new_secret
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.tokens import scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

ROUNDS = amount(2, 8)
NEW = ("another horse and battery", "a third staple, quite correct")


#: What is raised when another request was faster.
REFUSALS = (AccountError, OperationRefused)

#: What wins is decided in the store.
pytestmark = pytest.mark.every_backend


async def at_once(*acts: Awaitable[Any]) -> list[Any]:
    """What each returned, or the refusal that it raised."""
    found = await asyncio.gather(*acts, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, REFUSALS):
            raise one
    return found


def went(found: list[Any]) -> int:
    return sum(not isinstance(one, REFUSALS) for one in found)


@pytest.mark.gen_test(timeout=60)
async def test_a_name_and_an_address_belong_to_one(parts: Parts, twin: Parts, tried: Tried) -> None:
    for number in range(ROUNDS):
        first, second = f"ada{number}", f"ADA{number}"
        found = await at_once(
            parts.accounts.register(first, f"a{number}@example.org", PASSWORD),
            twin.accounts.register(second, f"b{number}@example.org", PASSWORD),
        )
        assert went(found) == 1
        found = await at_once(
            parts.accounts.register(f"c{number}", f"c{number}@example.org", PASSWORD),
            twin.accounts.register(f"d{number}", f"C{number}@example.org", PASSWORD),
        )
        assert went(found) == 1
    tried("two processes that register one name or one address", times=2 * ROUNDS, lost=0)


@pytest.mark.gen_test(timeout=60)
async def test_an_address_that_two_change_to_belongs_to_one(parts: Parts, twin: Parts) -> None:
    for name in ("ada", "bob"):
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD)
    for number in range(ROUNDS):
        wanted = f"new{number}@example.org"
        found = await at_once(
            parts.accounts.change_email("ada", PASSWORD, wanted, "::1"),
            twin.accounts.change_email("bob", PASSWORD, wanted, "::2"),
        )
        assert went(found) == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_password_is_changed_by_one_of_two_at_once(parts: Parts, twin: Parts) -> None:
    """Or both would believe that their new password is the one."""
    for number in range(ROUNDS):
        name = f"ada{number}"
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD)
        found = await at_once(
            parts.accounts.change_password(name, PASSWORD, NEW[0], "::1"),
            twin.accounts.change_password(name, PASSWORD, NEW[1], "::2"),
        )
        assert went(found) == 1
        winner = NEW[isinstance(found[0], AccountError)]
        assert (await parts.accounts.log_in(name, winner, "::3")).name == name
        with pytest.raises(WrongCredentials):
            await twin.accounts.log_in(name, PASSWORD, "::3")


@pytest.mark.gen_test(timeout=60)
async def test_an_old_password_changes_nothing_once_it_is_replaced(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it was verified a moment before."""
    old = await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    await parts.accounts.change_password("ada", PASSWORD, NEW[0], "::1")

    async def verified(*_: object) -> Any:
        return old

    monkeypatch.setattr(parts.accounts, "log_in", verified)
    with pytest.raises(WrongCredentials):
        await parts.accounts.change_email("ada", PASSWORD, "thief@example.org", "::1")
    with pytest.raises(WrongCredentials):
        await parts.accounts.remove("ada", PASSWORD, "::1")
    with pytest.raises(WrongCredentials):
        await parts.accounts.change_password("ada", PASSWORD, NEW[1], "::1")
    secret = new_secret()
    with pytest.raises(WrongCredentials):
        await parts.accounts.enable_two_steps("ada", secret, pyotp.TOTP(secret).now(), verified=old)
    account = await parts.accounts.get("ada")
    assert account is not None
    assert account.email == "ada@example.org"
    assert not account.has_two_steps
    assert not await parts.accounts.may_stay(old)


@pytest.mark.gen_test(timeout=60)
async def test_a_sign_in_with_the_role_of_before_does_not_stay(parts: Parts) -> None:
    """It would have the long life of a user's session, and the rights of an admin."""
    before = await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    await parts.accounts.set_role("ada", Role.ADMIN)
    assert not await parts.accounts.may_stay(before)


@pytest.mark.gen_test(timeout=60)
async def test_a_code_is_good_once(parts: Parts, twin: Parts, clock: Clock) -> None:
    for number in range(ROUNDS):
        name, secret = f"ada{number}", new_secret()
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD)
        code = pyotp.TOTP(secret).at(int(clock()))
        codes = await parts.accounts.enable_two_steps(name, secret, code)
        for taken in (codes[0], pyotp.TOTP(secret).at(int(clock()) + 30)):
            found = await at_once(
                parts.accounts.second_step(name, taken, "::1"), twin.accounts.second_step(name, taken, "::2")
            )
            assert went(found) == 1


@pytest.mark.gen_test(timeout=60)
async def test_two_different_codes_at_once_are_both_good(parts: Parts, twin: Parts, clock: Clock) -> None:
    secret = new_secret()
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    codes = await parts.accounts.enable_two_steps("ada", secret, pyotp.TOTP(secret).at(int(clock())))
    for first, second in zip(codes[::2], codes[1::2], strict=True):
        found = await at_once(
            parts.accounts.second_step("ada", first, "::1"), twin.accounts.second_step("ada", second, "::2")
        )
        assert went(found) == 2


@pytest.mark.gen_test(timeout=60)
async def test_of_two_secrets_that_are_switched_on_at_once_one_counts(parts: Parts, twin: Parts, clock: Clock) -> None:
    for number in range(ROUNDS):
        name, secrets = f"ada{number}", (new_secret(), new_secret())
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD)
        first, second = (pyotp.TOTP(secret).at(int(clock())) for secret in secrets)
        found = await at_once(
            parts.accounts.enable_two_steps(name, secrets[0], first),
            twin.accounts.enable_two_steps(name, secrets[1], second),
        )
        assert went(found) == 1
        codes = next(one for one in found if not isinstance(one, AccountError))
        assert (await parts.accounts.second_step(name, codes[0], "::1")).name == name


@pytest.mark.gen_test(timeout=60)
async def test_two_admins_who_demote_each_other_leave_one(parts: Parts, twin: Parts) -> None:
    for name in ("ann", "bob"):
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=Role.ADMIN)
    for _ in range(ROUNDS):
        found = await at_once(
            parts.actions.set_role(Actor("ann", "::1"), "bob", Role.USER),
            twin.actions.set_role(Actor("bob", "::2"), "ann", Role.USER),
        )
        assert went(found) == 1
        assert len(await parts.accounts.with_role(Role.ADMIN)) == 1
        for name in ("ann", "bob"):
            await parts.accounts.set_role(name, Role.ADMIN)


@pytest.mark.gen_test(timeout=60)
async def test_two_uses_of_the_first_link_make_one_admin(parts: Parts, twin: Parts) -> None:
    """Also if both have passed all checks before either is stored, and whichever server's link they used."""
    links = [await made.setup.make() for made in (parts, twin)]
    assert all([await made.setup.accepts(link or "") for made in (parts, twin) for link in links])
    both_checked = asyncio.Barrier(2)

    async def use(made: Parts, name: str) -> object:
        async def note() -> None:
            await both_checked.wait()

        return await made.setup.register(name, f"{name}@example.org", PASSWORD, note=note)

    found = await at_once(use(parts, "ann"), use(twin, "bob"))
    assert [type(one) for one in found if isinstance(one, Exception)] == [SetupUsed]
    admins = await parts.accounts.with_role(Role.ADMIN)
    assert len(admins) == 1
    assert not any([await made.setup.accepts(link or "") for made in (parts, twin) for link in links])
    # The account can be changed like any other, and stays the only one.
    await parts.accounts.set_role(admins[0].name, Role.USER)
    assert not await twin.setup.accepts(links[1] or "")


@pytest.mark.gen_test
async def test_a_restart_takes_no_link_away_that_another_server_printed(parts: Parts, twin: Parts) -> None:
    first, second, third = [await made.setup.make() or "" for made in (parts, twin, parts)]
    assert all([await parts.setup.accepts(link) for link in (first, second, third)])
    assert not await parts.setup.accepts(first + "a")
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.OPERATOR)
    assert not any([await parts.setup.accepts(link) for link in (first, second, third)])
    assert await twin.setup.make() is None
    await parts.accounts.set_role("ada", Role.USER)
    assert not await parts.setup.accepts(first), "removed when a server saw the operator"


@pytest.mark.gen_test
async def test_links_that_nobody_uses_have_a_bound(parts: Parts) -> None:
    links = [await parts.setup.make() or "" for _ in range(60)]
    accepted = [await parts.setup.accepts(link) for link in links]
    assert accepted.count(True) == 50
    assert accepted[-1]


@pytest.mark.gen_test(timeout=60)
async def test_two_posts_to_the_first_link_make_one_admin(
    browser: Browser, other: Browser, parts: Parts, app: Application
) -> None:
    link = f"/setup/{await parts.setup.make()}"

    async def post(who: Browser, name: str) -> int:
        fields = {
            "_xsrf": await who.token(link),
            "username": name,
            "email": f"{name}@example.org",
            "password": PASSWORD,
        }
        kind = "application/x-www-form-urlencoded"
        return (await who.send("POST", link, urlencode(fields), Content_Type=kind)).code

    codes = await asyncio.gather(post(browser, "ann"), post(other, "bob"))
    assert sorted(codes) == [200, 404]
    assert len(await parts.accounts.with_role(Role.ADMIN)) == 1
    assert (await browser.get(link)).code == 404


@pytest.mark.gen_test
async def test_an_error_of_the_store_leaves_the_first_link_good(
    browser: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = f"/setup/{await parts.setup.make()}"
    fields = {"username": "root", "email": "root@example.org", "password": PASSWORD}
    with monkeypatch.context() as patch:

        async def fails(_user: object) -> None:
            raise StoreUnavailable("test", "out")

        patch.setattr(parts.accounts.repository, "add", fails)
        assert (await browser.post(link, fields, link)).code == 503
    assert (await browser.post(link, fields, link)).code == 200
    assert len(await parts.accounts.with_role(Role.ADMIN)) == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_token_that_is_revoked_while_it_is_used_stays_revoked(parts: Parts, twin: Parts, clock: Clock) -> None:
    for _ in range(ROUNDS):
        token = await parts.tokens.create("robot", scopes_of(Role.VIEWER))
        handle = (await parts.tokens.all())[0].handle
        await asyncio.gather(parts.tokens.verify(token), twin.tokens.revoke(handle), parts.tokens.verify(token))
        assert await twin.tokens.verify(token) is None
        assert await parts.tokens.all() == []


@pytest.mark.gen_test
async def test_the_use_of_a_token_is_no_reason_to_refuse_it(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that refuses writes still lets programs look."""
    token = await parts.tokens.create("robot", scopes_of(Role.VIEWER))

    async def fails(*_: object) -> bool:
        raise StoreUnavailable("test", "read only")

    monkeypatch.setattr(parts.documents, "put", fails)
    assert await parts.tokens.verify(token) is not None


@pytest.mark.gen_test(timeout=60)
async def test_two_posts_of_one_form_make_one_token(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    for number in range(1, 4):
        page = (await operator.get("/admin/operators/tokens")).body.decode()
        form = {
            "_xsrf": await operator.token(),
            "name": "robot",
            "scope": "sessions:read",
            "days": "7",
            "once": page.split('name="once" value="')[1].split('"')[0],
        }
        kind = "application/x-www-form-urlencoded"
        sent = [operator.send("POST", "/admin/operators/tokens", urlencode(form), Content_Type=kind) for _ in range(2)]
        answers = await asyncio.gather(*sent)
        assert sorted(answer.code for answer in answers) == [200, 303]
        assert len(await parts.tokens.all()) == number


@pytest.mark.gen_test(timeout=60)
async def test_guesses_at_once_do_not_slip_past_the_limit(parts: Parts, tried: Tried) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    found = await at_once(*(parts.accounts.log_in("ada", f"guess {number}", "::1") for number in range(25)))
    checked = sum(type(one) is WrongCredentials for one in found)
    tried("guesses at once at one account: beyond the limit", times=len(found), lost=max(checked - 10, 0))
    assert checked == 10
    assert sum(isinstance(one, Throttled) for one in found) == 15


@pytest.mark.gen_test(timeout=60)
async def test_a_lease_of_a_process_that_died_is_taken_over(
    parts: Parts, twin: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tornado_sessions.server.operations.leases._ABANDONED", 1.0)
    await Leases(parts.documents).take("roles")
    async with Leases(twin.documents).hold("roles"):
        with pytest.raises(StoreUnavailable):
            async with Leases(parts.documents).hold("other"):
                raise StoreUnavailable("test", "inside")
    async with Leases(parts.documents).hold("roles"):
        pass
