"""Server-side sessions for Tornado.

sessions = Sessions(store="sqlite:///data/sessions.db", secret="…")
app = tornado.web.Application(routes, sessions=sessions)

class Home(SessionMixin, tornado.web.RequestHandler):
    def get(self):
        self.session["visits"] = self.session.get("visits", 0) + 1
"""

from tornado_sessions.codec import JSONValue
from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import (
    ConfigError,
    DecodeError,
    NotStorable,
    OpenIDError,
    ProviderUnavailable,
    QueryError,
    SessionError,
    SessionGone,
    SessionTooLarge,
    StoreDenied,
    StoreError,
    StoreMismatch,
    StoreUnavailable,
    TooManyConnections,
    TooManySessions,
    UsageError,
)
from tornado_sessions.manager import Sessions
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.opened_store import StoreCall
from tornado_sessions.query import Count, Direction, Page, Query, Sort, State, Where
from tornado_sessions.record import (
    Cause,
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Event,
    EventKind,
    Loaded,
    Outcome,
    Record,
    Rotation,
    SessionSummary,
    Swapped,
    Tombstone,
)
from tornado_sessions.session import Session
from tornado_sessions.session_events import (
    Ended,
    EndedAll,
    Moved,
    Rotated,
    SessionEvent,
    SignedIn,
    SignedOut,
    TakenOver,
    Theft,
)
from tornado_sessions.stores import Store, open_store

__all__ = [
    "Cause", "Change", "ConfigError", "Conflict", "Count", "Create", "Damaged", "DecodeError", "Direction", "Ended",
    "EndedAll", "Ending", "Event", "EventKind", "JSONValue", "Loaded", "Moved", "NotStorable", "OpenIDError", "Outcome",
    "Page", "ProviderUnavailable", "Query", "QueryError", "Record", "Rotated", "Rotation", "Session", "SessionConfig",
    "SessionError", "SessionEvent", "SessionGone", "SessionMixin", "SessionSummary", "SessionTooLarge", "Sessions",
    "SignedIn", "SignedOut", "Sort", "State", "Store", "StoreCall", "StoreDenied", "StoreError", "StoreMismatch",
    "StoreUnavailable", "Swapped", "TakenOver", "Theft", "Tombstone", "TooManyConnections", "TooManySessions",
    "UsageError", "Where", "open_store",
]  # fmt: skip

__version__ = "0.1.0"
