"""Server-side sessions for Tornado.

sessions = Sessions(store="sqlite:///data/sessions.db", secret="…")
app = tornado.web.Application(routes, sessions=sessions)

class Home(SessionMixin, tornado.web.RequestHandler):
    def get(self):
        self.session["visits"] = self.session.get("visits", 0) + 1
"""

from tornado_sessions.config import SessionConfig
from tornado_sessions.manager import Sessions
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.query import State
from tornado_sessions.record import Cause
from tornado_sessions.session import Session
from tornado_sessions.stores import Store, open_store

__all__ = ["Cause", "Session", "SessionConfig", "SessionMixin", "Sessions", "State", "Store", "open_store"]

__version__ = "0.1.0"
