"""People who sign in: accounts, passwords, throttling and two-step verification. No HTTP."""
