"""What stands behind a question to a provider: what it takes, whether it may be asked now, what its answer teaches."""
