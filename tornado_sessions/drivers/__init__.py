"""Connections to SQLite, Redis and MongoDB: options from a URL, clients, and the drivers' errors as ``StoreError``.

Session stores and documents are built on them. It must not know what is stored. A driver is imported when a URL names its
backend, since the package behind it may not be installed.
"""
