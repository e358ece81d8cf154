"""Accounts, passwords, throttling and two-step verification. Knows no HTTP."""
