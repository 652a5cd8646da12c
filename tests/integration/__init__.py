"""Promises that stand on real parts: servers and processes on this machine."""
