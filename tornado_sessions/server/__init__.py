"""The server built on the library: accounts, dashboard, API and commands. The library never imports it."""
