"""People who log in: accounts, passwords, throttling and their pages."""
