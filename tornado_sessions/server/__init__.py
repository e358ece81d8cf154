"""The ready server: accounts, the dashboard, its API and its commands, on top of the library.

The library never imports it.
"""
