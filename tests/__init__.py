"""Proofs of promises. The folders say on what they stand: nothing, fakes, real parts, whole processes."""
