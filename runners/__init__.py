"""The maintenance itself, one module a kind of datastore. It knows the public API; the engine knows none of it."""
