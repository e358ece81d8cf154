"""Sign in with OpenID Connect: authorization code with PKCE, proof of a recent sign-in, and sign-out in both directions.

``OpenIDConnect`` is the client, and ``OpenIDMixin`` gives it to a handler; ``BackChannelLogout`` is the ready handler for the
provider's own requests. It needs the extra ``oidc``, and it must not know accounts or pages.
"""

from __future__ import annotations

from tornado_sessions.extras import missing

try:
    from tornado_sessions.oidc.client import Identity, OpenIDConnect
    from tornado_sessions.oidc.handlers import BackChannelLogout, OpenIDMixin
    from tornado_sessions.oidc.tokens import LogoutRequest
except ModuleNotFoundError as error:
    raise missing(error, "oidc", __name__) from error

__all__ = ["BackChannelLogout", "Identity", "LogoutRequest", "OpenIDConnect", "OpenIDMixin"]
