"""The hub: what every spoke team shares. Nothing in here knows one spoke from another."""

__version__ = "0.1.0"
