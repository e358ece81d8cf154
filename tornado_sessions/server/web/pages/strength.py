"""``/strength``: how hard a new password is to guess, while somebody types it. It must not know rules or accounts."""

from __future__ import annotations

import time

from tornado_sessions.server.accounts.errors import HasherBusy
from tornado_sessions.server.web.people import AccountHandler

__all__ = ["StrengthPage"]

#: Measuring takes about 10 ms of a thread. With these limits in a period, of one address and in all, it takes a tenth of a core.
_PERIOD, _MAX_OF_ADDRESS, _MAX_IN_ALL = 10.0, 20, 100


class StrengthPage(AccountHandler):
    """``/strength``. Nothing is stored or logged. Without an answer, the hint at the field remains."""

    wants_json = True

    async def post(self) -> None:
        """Answer with the score, 0 to 4, and a text."""
        if not self._may_measure():
            raise HasherBusy
        known = [self.form_value("username"), self.form_value("email"), self.person.name if self.person else ""]
        password = self.form_value("password", strip=False)
        found = await self.parts.accounts.strength(password, known, self.client, two_steps=self.two_steps)
        self.answer({"score": found.score, "text": self.say(found.text)})

    def _may_measure(self) -> bool:
        """Count this request. The counts are this process's own: its processor is what they protect."""
        counts, period = self.site.measured, int(time.monotonic() // _PERIOD)
        if counts.get("period") != period:
            counts.clear()
            counts["period"] = period
        counts["all"] += 1
        counts[self.client_ip] += 1
        return counts["all"] <= _MAX_IN_ALL and counts[self.client_ip] <= _MAX_OF_ADDRESS
