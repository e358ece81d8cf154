"""``OpenID``: sign-in with OpenID Connect: read the settings, and map groups of the provider to roles.

It must not know HTTP, accounts or pages.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tornado_sessions.errors import ConfigError
from tornado_sessions.oidc import OpenIDConnect
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions

__all__ = ["CALLBACK", "SIGNED_OUT", "START", "OpenID", "open_id_of"]

#: The paths that a provider has to know, and the one that starts.
START, CALLBACK, SIGNED_OUT = "/login/oidc", "/login/oidc/callback", "/login/oidc/signed-out"


class OpenID:
    """The provider at which users sign in.

    Args:
        client: of the provider.
        options: the settings.

    Attributes:
        name: what the sign-in page calls the provider.
        signed_out_url: where the browser comes back to after it has signed out there.
    """

    def __init__(self, client: OpenIDConnect, options: ServerOptions) -> None:
        self.client = client
        self.name = options.oidc_name or urlsplit(client.issuer).hostname or ""
        self.signed_out_url = options.base_url("") + SIGNED_OUT
        self._claim = options.oidc_groups_claim.split(".")
        self._roles = dict(options.oidc_role_pairs)

    def role_of(self, claims: dict[str, Any]) -> Role | None:
        """Return the highest role of the user's groups, ``Role.USER`` without any; ``None`` if groups do not decide roles."""
        if not self._roles:
            return None
        groups: Any = claims
        for name in self._claim:
            groups = groups.get(name) if isinstance(groups, dict) else None
        found = groups if isinstance(groups, list) else [groups]
        roles = [self._roles[group] for group in found if isinstance(group, str) and group in self._roles]
        return max(roles, key=list(Role).index, default=Role.USER)


def open_id_of(options: ServerOptions, clock: Callable[[], float]) -> OpenID | None:
    """Return the provider of the settings, or ``None``. Raises ``ConfigError``."""
    if not options.oidc_issuer:
        return None
    secret = ""
    if options.oidc_client_secret_file:
        path = Path(options.oidc_client_secret_file)
        try:
            secret = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not a text file"
            raise ConfigError(f"cannot read {path}: {why}") from None
        if not secret:
            raise ConfigError(f"{path} is empty; write the secret of the client into it")
    client = OpenIDConnect(
        options.oidc_issuer,
        options.oidc_client_id or "",
        secret,
        redirect_url=options.base_url("") + CALLBACK,
        scopes=options.oidc_scopes,
        clock=clock,
    )
    return OpenID(client, options)
