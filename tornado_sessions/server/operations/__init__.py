"""What operators use: the dashboard, its JSON API, the audit log and API tokens."""
