"""The decisions: pure functions of values, with now and dice among the arguments."""
