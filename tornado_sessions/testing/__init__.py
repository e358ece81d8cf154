"""Checks of the store contract, for authors of stores to run on real servers::

    from tornado_sessions.testing import STORE_CHECKS, UrlMaker

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        asyncio.run(check(UrlMaker("mystore://localhost/{id}")))

A failed check raises ``AssertionError``; no test framework is needed. The kit must not know ``Sessions`` or the server.
"""

from tornado_sessions.testing.contract import STORE_CHECKS
from tornado_sessions.testing.maker import Damage, StoreMaker, UrlMaker, make_record

__all__ = ["STORE_CHECKS", "Damage", "StoreMaker", "UrlMaker", "make_record"]
