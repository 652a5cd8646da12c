"""Promises of one module, in memory: no process, no socket."""
