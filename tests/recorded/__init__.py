"""Stores that cannot be had here, as their tools are known to print them: the data of tests and of pages in docs/."""
