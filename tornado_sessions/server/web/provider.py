"""``ProviderHandler``: base of the pages on which people sign in and out at the OpenID provider. It must not know any page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tornado.web import HTTPError
from typing_extensions import override

from tornado_sessions.errors import ProviderUnavailable
from tornado_sessions.messages import Message
from tornado_sessions.oidc import OpenIDConnect, OpenIDMixin
from tornado_sessions.server.errors import Refused
from tornado_sessions.server.open_id import OpenID
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.people import AccountHandler
from tornado_sessions.server.web.server_site import ServerSite

__all__ = ["ProviderDown", "ProviderHandler"]


class ProviderDown(Refused):
    """The provider does not answer, or its answer cannot be used; the log says why. Nobody is signed out."""

    status = ProviderUnavailable.status
    retry_after = ProviderUnavailable.retry_after
    is_public = True

    def __init__(self, name: str) -> None:
        super().__init__(
            Message("%s doesn't answer at the moment. You have not been signed out. Please try again soon.", (name,))
        )


class ProviderHandler(OpenIDMixin, AccountHandler):
    """A handler that knows the server's provider. Tokens are used once, whichever process gets them."""

    site: ServerSite

    @property
    @override
    def parts(self) -> Parts:
        return self.site.parts

    @property
    def open_id(self) -> OpenID:
        """The provider. Raises 404 without one."""
        found = self.parts.open_id
        if found is None:
            raise HTTPError(404)
        return found

    @property
    @override
    def oidc(self) -> OpenIDConnect:
        return self.open_id.client

    @contextmanager
    def asking_provider(self) -> Iterator[None]:
        """Turn an outage of the provider into ``ProviderDown``, whose page is written for users."""
        try:
            yield
        except ProviderUnavailable:
            raise ProviderDown(self.open_id.name) from None

    @override
    async def was_used(self, token_id: str) -> bool:
        return await self.parts.identities.was_used(token_id)

    @override
    async def use(self, token_id: str, until: float) -> bool:
        return await self.parts.identities.use(token_id, until)
