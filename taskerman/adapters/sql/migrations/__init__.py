"""The history's schema, step by step. A step that was released is never changed; a new one is added behind it."""
