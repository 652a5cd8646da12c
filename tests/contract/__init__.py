"""Promises of a port, held by its fake and by the real part alike (`real` in the test's id)."""
