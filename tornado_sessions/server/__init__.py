"""The ready server on top of the library: accounts, dashboard, API and commands. The library never imports it."""
