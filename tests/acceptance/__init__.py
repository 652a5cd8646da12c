"""Promises to a user: the shipped commands as processes, real clusters, faults, an independent witness."""
