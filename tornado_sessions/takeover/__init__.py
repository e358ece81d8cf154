"""Take over the live sessions of another system: its users stay signed in here.

``Express`` is for express-session with connect-redis or connect-mongo. For another system, implement ``Takeover``.
"""

from __future__ import annotations

from tornado_sessions.takeover.base import ForeignSession, Takeover
from tornado_sessions.takeover.express import Express

__all__ = ["Express", "ForeignSession", "Takeover"]
