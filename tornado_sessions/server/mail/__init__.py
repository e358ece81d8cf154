"""Mail: links for recovery and registration, and notices of changes, through an outbox that outlives a crash. Knows no HTTP."""
