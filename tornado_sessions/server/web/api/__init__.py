"""The JSON API of the dashboard."""
