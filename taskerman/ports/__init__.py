"""The contracts with the outside world, in the words of the domain. The docstrings are obligations."""
