"""Fumehood runs AI tools under the hood: one confined sandbox for each call."""

__version__ = "0.1.0"
