# kazoo ships no types and nobody publishes current ones: here stand the symbols that this project uses, and no more.
