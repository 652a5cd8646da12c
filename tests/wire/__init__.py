"""Golden documents: what is written today is read for ever."""
