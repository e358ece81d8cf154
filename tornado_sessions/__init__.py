"""Server-side sessions for Tornado."""
