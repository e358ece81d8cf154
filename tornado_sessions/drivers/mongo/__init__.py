"""MongoDB: one client over Motor or PyMongo's ``AsyncMongoClient``."""

from __future__ import annotations

from tornado_sessions.drivers.mongo.client import Client, translated
from tornado_sessions.drivers.mongo.indexes import Indexes, Layout
from tornado_sessions.drivers.mongo.url import ClientOptions, client_options

__all__ = ["Client", "ClientOptions", "Indexes", "Layout", "client_options", "translated"]
