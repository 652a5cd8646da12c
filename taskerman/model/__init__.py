"""The nouns: frozen values with one meaning each, no clock and no I/O."""
