"""The relay: a webhook for every provider that only lets you poll."""

__version__ = "0.1.0"
