"""Connections to SQLite, Redis and MongoDB: parse URLs, make clients, and translate drivers' errors into ``StoreError``.

Session stores and document stores are built on them. It must not know what is stored. A driver is imported only when a
URL names its backend, since it is an optional dependency.
"""
