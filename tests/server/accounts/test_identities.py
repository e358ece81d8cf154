"""Accounts of users who sign in at an OpenID provider."""

from __future__ import annotations

from typing import Any

import pytest
from support.passwords import PASSWORD

from tornado_sessions.server.accounts.errors import NoPassword, WrongCredentials
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

ISSUER = "https://id.example"


@pytest.mark.gen_test
async def test_an_account_with_a_password_cannot_be_deleted_by_the_proof_of_another_way(parts: Parts) -> None:
    await parts.accounts.register("bob", "bob@example.org", PASSWORD)
    with pytest.raises(WrongCredentials):
        await parts.accounts.remove_proved("bob")
    assert await parts.accounts.get("bob") is not None


@pytest.mark.gen_test
async def test_the_email_is_the_one_that_the_provider_has_verified(parts: Parts) -> None:

    async def sign_in_with(**claims: Any) -> User:
        user, _ = await parts.identities.sign_in(ISSUER, "ada", {"name": "ada", **claims}, Role.USER)
        return user

    assert (await sign_in_with(email="a@example.org")).email == ""
    user = await sign_in_with(email="b@example.org", email_verified=True)
    assert (user.email, user.email_confirmed_at is not None) == ("b@example.org", True)
    for unusable in ({"email": "c@example.org"}, {"email": "c", "email_verified": True}, {"email": 7}, {}):
        assert (await sign_in_with(**unusable)).email == "b@example.org"


@pytest.mark.gen_test
async def test_no_password_can_be_set_for_an_account_of_a_provider(parts: Parts) -> None:
    """It would outlive what the provider withdraws."""
    user, _ = await parts.identities.sign_in(ISSUER, "ada", {"name": "ada"}, Role.USER)
    with pytest.raises(NoPassword):
        await parts.accounts.reset_password(user.name, PASSWORD)
    with pytest.raises(WrongCredentials):
        await parts.accounts.change_password(user.name, "", PASSWORD, "203.0.113.1")
    found = await parts.accounts.get(user.name)
    assert found is not None
    assert found.password_hash == ""
