"""Promises of the tree itself."""
