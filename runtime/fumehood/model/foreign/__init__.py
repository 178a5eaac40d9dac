"""Readers of other projects' tool descriptions, each into a draft of a manifest. Pure."""
