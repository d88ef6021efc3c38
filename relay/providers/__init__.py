"""Providers as data: what a definition says, how a look is asked for, and what its answer means."""
