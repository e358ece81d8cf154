"""The secret that signs cookies, and the password that everybody has, in all tests."""

from __future__ import annotations

SECRET = "a secret of the tests, long enough to sign with"
PASSWORD = "correct horse battery staple"
