"""What operators do: actions, their rules, the audit log, jobs, API tokens. No HTTP, and no accounts of ours."""
