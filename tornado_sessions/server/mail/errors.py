"""Errors of sending mail. Their messages are logged, so they name no address and nothing that a mail says.

SessionError
├── MailUnavailable    try again later
└── MailRefused        give up
"""

from __future__ import annotations

from tornado_sessions.errors import SessionError

__all__ = ["MailRefused", "MailUnavailable"]


class MailUnavailable(SessionError):
    """The mail server does not answer, or refuses for now. Another attempt may succeed."""


class MailRefused(SessionError):
    """The mail server refuses this message or its recipient for good."""
