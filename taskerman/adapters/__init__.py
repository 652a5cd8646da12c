"""The outside world: each translates, maps errors in one place, retries for seconds, and decides nothing."""
