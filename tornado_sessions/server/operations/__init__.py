"""Operators' actions and their rules, the audit log, jobs and API tokens. Knows neither HTTP nor the server's accounts."""
